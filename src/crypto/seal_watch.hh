#pragma once

#include "base/bytes.hh"

namespace dh {

/// For checks of the one rule every cipher here lives by: no key seals twice under one nonce. Told of every
/// seal of ours while it is installed. Not of what GnuTLS seals by itself, the packets of a tunnel's QUIC
/// handshake, nor of the TLS of relays.
class SealWatcher {
public:
  virtual ~SealWatcher() = default;
  virtual void on_seal(ByteView key, ByteView nonce) = 0;
};

/// Installs it for the whole process, nullptr: nobody. Keys made before stay unwatched. Not while other
/// threads make keys or seal.
void watch_seals(SealWatcher* watcher);
SealWatcher* seal_watcher();

/// A seal that goes through no key of make_aead(): tells the watcher, if there is one.
void note_seal(ByteView key, ByteView nonce);

}  // namespace dh
