// The two halves of an ssh invitation from a stranger: an answer that parses writes back the same and makes a
// command and known_hosts lines of harmless characters only; an offer cut into messages anywhere reads as the
// same key or the same error.

#include <algorithm>
#include <cstdlib>

#include "session/ssh_exchange.hh"

namespace {

using namespace dh;
using namespace dh::session;

void require(bool condition) {
  if (!condition) std::abort();
}

bool is_harmless(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view(" @.:_-[]+/=\n").find(c) != std::string_view::npos;
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const ByteView input(reinterpret_cast<const std::byte*>(data), size);
  if (const auto access = SshAccess::parse(input)) {
    require(SshAccess::parse(access->serialize()) == *access);
    require(is_harmless(ssh_command(*access)) && is_harmless(known_hosts_lines(*access)));
    require(ssh_command(*access).find(" -o") == std::string::npos);
  }
  SshOfferReader reader;
  std::optional<std::expected<SshKey, SshKeyError>> last;
  for (std::size_t at = 0; at < size && !last; at += 100)
    last = reader.on_message(input.subspan(at, std::min<std::size_t>(100, size - at)));
  if (last && *last) require(parse_ssh_key(format_ssh_key(**last)) == **last);
  if (const auto key = parse_ssh_key(as_text(input))) {
    SshOfferReader again;
    std::optional<std::expected<SshKey, SshKeyError>> result;
    for (const Bytes& message : ssh_offer_messages(*key, 2 + size % 50)) result = again.on_message(message);
    require(result && *result == *key);
  }
  return 0;
}
