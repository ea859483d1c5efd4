#include <cstdio>

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <sodium.h>

#include "commands.hh"
#include "crypto/aead.hh"

namespace dh::app {

Exit run_version(const VersionOptions& options) {
  const std::string_view aead = to_string(preferred_aead_backend());
  const char* openssl = OpenSSL_version(OPENSSL_VERSION_STRING);
  std::string text;
  if (options.json) {
    text = fmt::format(
        "{{\"name\":\"derphole\",\"version\":\"{}\",\"protocol\":1,\"libsodium\":\"{}\",\"openssl\":\"{}\","
        "\"aead\":\"{}\"}}\n",
        DERPHOLE_VERSION, sodium_version_string(), openssl, aead);
  } else {
    text = fmt::format("derphole {}\n", DERPHOLE_VERSION);
    if (options.verbose)
      text += fmt::format("aead={}\nlibsodium={}\nopenssl={}\n", aead, sodium_version_string(), openssl);
  }
  return std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0 ? Exit::LocalFile : Exit::Ok;
}

}  // namespace dh::app
