#pragma once

#include <memory>

#include "io/derp_server.hh"
#include "session/token.hh"

namespace dh::io {

/// The relay that a command hosts in its own process when no other can be reached, or when asked to: TLS with
/// a throw-away certificate, on every address of this machine, for as long as the object lives.
class SelfRelay {
public:
  /// Binds and serves. Errors: throws std::runtime_error with one sentence.
  SelfRelay(asio::any_io_executor executor, Rng& rng);
  ~SelfRelay();

  /// For the token: this machine's addresses (best first) and the pin.
  const session::RelayRef& ref() const { return ref_; }
  /// Where this process itself dials it.
  Endpoint loopback() const;

private:
  std::unique_ptr<DerpServer> server_;
  session::RelayRef ref_;
};

}  // namespace dh::io
