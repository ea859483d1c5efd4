#pragma once

// What a relay remembers between runs, so that the --derp-server value it printed stays true: its DERP key
// and its TLS certificate. docs/protocol/relay-server.md §7.

#include <filesystem>
#include <string>
#include <vector>

#include "base/time.hh"
#include "crypto/keys.hh"
#include "io/tls_certificate.hh"

namespace dh::io {

struct RelayState {
  KeyPair key;
  TlsIdentity tls;
};

/// `$XDG_STATE_HOME/derphole`, else `$HOME/.local/state/derphole`. The two values come from the caller; a
/// relative or empty one does not count. Errors: throws std::runtime_error when neither is usable.
std::filesystem::path relay_state_directory(std::string_view xdg_state_home, std::string_view home);

/// Reads the state from `directory`, or makes it there on the first run: the directory 0700, `relay.key` and
/// `relay.pem` 0600, each written whole or not at all. `hosts` name a new certificate; an existing one is
/// kept whatever it names, because clients hold its digest. Errors: throws std::runtime_error, one sentence
/// naming the file, when a file cannot be read or written, is damaged, may be read by others, or holds an
/// expired certificate. Nothing is replaced then.
RelayState load_relay_state(const std::filesystem::path& directory, const std::vector<std::string>& hosts,
                            UnixSeconds now, Rng& rng);

/// `https://HOST:PORT?pin=sha256-raw:HEX`, with brackets around an IPv6 literal: a value for --derp-server.
std::string relay_server_url(std::string_view host, std::uint16_t port, const ByteArray<32>& pin);

}  // namespace dh::io
