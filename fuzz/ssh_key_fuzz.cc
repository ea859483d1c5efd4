// A peer's public key: what parses reads back the same, its line is one line that sshd would read as ours,
// goes into a file once and comes out again without a trace; and any text is a file that revoking leaves as
// it was but for our lines.

#include <algorithm>
#include <cstdlib>

#include "session/authorized_keys.hh"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace dh::session;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto rest = revoke_authorized_keys(input, "all");
  require(granted_lines(rest.file).empty());
  require((rest.removed == 0) == (rest.file == input));
  const auto key = parse_ssh_key(input);
  if (!key) return 0;
  require(parse_ssh_key(format_ssh_key(*key)) == *key);
  SshGrant grant;
  grant.key = *key;
  grant.expires = dh::UnixSeconds(std::chrono::seconds(1'800'000'000));
  const std::string line = authorized_key_line(grant);
  require(line.starts_with("restrict,pty,expiry-time=\""));
  require(std::all_of(line.begin(), line.end(), [](char c) { return c >= ' ' && c <= '~'; }));
  const std::string before = "# first\nssh-rsa AAAA someone\n";
  const auto file = add_authorized_key(before, grant);
  require(file && granted_lines(*file).size() == 1 && granted_lines(*file)[0].comment == key->comment);
  require(!add_authorized_key(*file, grant));
  require(revoke_authorized_keys(*file, "0000000000000000").file == before);
  return 0;
}
