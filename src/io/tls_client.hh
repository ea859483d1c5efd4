#pragma once

#include "io/dial.hh"

namespace dh::io {

/// Whom a TLS handshake must prove to reach.
struct TlsPeer {
  std::string host;       // SNI, unless an IP literal; verified (as name or as address) unless pinned
  std::string cert_name;  // verified instead of host, if not empty
  std::optional<ByteArray<32>> pin;
  bool insecure_for_tests = false;
  std::string extra_roots_pem;
};

/// TLS 1.2 or newer on top of `lower`, no ALPN. Errors say who and why; `certificate` is set where the far
/// end was reached and its certificate is the problem.
asio::awaitable<std::expected<DialedStream, DialError>> start_tls(std::unique_ptr<ByteStream> lower,
                                                                  TlsPeer peer, Instant deadline);

}  // namespace dh::io
