#include <cstdio>

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <sodium.h>

#include "commands.hh"

namespace dh::app {

Exit run_version(bool json) {
  const std::string text =
      json ? fmt::format(
                 "{{\"name\":\"derphole\",\"version\":\"{}\",\"protocol\":1,\"libsodium\":\"{}\",\"openssl\":"
                 "\"{}\"}}\n",
                 DERPHOLE_VERSION, sodium_version_string(), OpenSSL_version(OPENSSL_VERSION_STRING))
           : fmt::format("derphole {}\n", DERPHOLE_VERSION);
  return std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0 ? Exit::LocalFile : Exit::Ok;
}

}  // namespace dh::app
