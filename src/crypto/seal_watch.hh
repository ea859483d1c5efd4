#pragma once

#include "base/bytes.hh"

namespace dh {

/// For checks of the one rule every cipher here lives by: no key seals twice under one nonce. Told of every
/// seal by make_aead()'s keys and by the handshake's, while it is installed.
class SealWatcher {
public:
  virtual ~SealWatcher() = default;
  virtual void on_seal(ByteView key, ByteView nonce) = 0;
};

/// Installs it for the whole process, nullptr: nobody. Keys made before stay unwatched. Not while other
/// threads make keys or seal.
void watch_seals(SealWatcher* watcher);
SealWatcher* seal_watcher();

}  // namespace dh
