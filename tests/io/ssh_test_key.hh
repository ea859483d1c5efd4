#pragma once

#include "session/ssh_key.hh"

namespace dh::io {

/// An ed25519 key as ssh has it: of 32 equal bytes.
inline session::SshKey ssh_test_key(unsigned char fill) {
  session::SshKey key;
  key.type = "ssh-ed25519";
  Writer out(key.blob);
  out.u32(11);
  out.text(key.type);
  out.u32(32);
  out.bytes(Bytes(32, std::byte{fill}));
  return key;
}

}  // namespace dh::io
