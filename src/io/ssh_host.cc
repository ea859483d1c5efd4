#include "io/ssh_host.hh"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <glob.h>
#include <pwd.h>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "base/printable.hh"
#include "io/listen_socket.hh"
#include "io/local_addresses.hh"

namespace dh::io {
namespace {

// At most a line's worth and one byte: what is longer is no key.
std::expected<std::string, int> read_key_file(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!fd) return std::unexpected(errno);
  std::string text(session::kMaxSshKeyText + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = ::read(fd.get(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::unexpected(errno);
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  text.resize(size);
  return text;
}

// Without its comment, which says `root@build-7` or worse.
std::string_view without_comment(std::string_view line) {
  const std::size_t type_end = line.find(' ');
  if (type_end == std::string_view::npos) return line;
  return line.substr(0, line.find_first_of(" \r\n", type_end + 1));
}

std::optional<std::string> user_name(const std::string& wanted) {
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> buffer(16'384);
  const int error = wanted.empty()
                        ? ::getpwuid_r(::geteuid(), &entry, buffer.data(), buffer.size(), &found)
                        : ::getpwnam_r(wanted.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (error != 0 || found == nullptr || !session::is_ssh_user(found->pw_name)) return std::nullopt;
  return std::string(found->pw_name);
}

std::vector<std::string> host_names() {
  std::vector<std::string> names;
  const auto add = [&names](std::string name) {
    if (session::is_ssh_host(name) && names.size() < session::kMaxSshHosts &&
        std::find(names.begin(), names.end(), name) == names.end())
      names.push_back(std::move(name));
  };
  for (const IpAddress& address : local_addresses())
    if (!address.is_loopback()) add(address.to_string());
  char name[256] = "";
  // A bare name is known at home at most: behind the addresses, if there are any.
  if (::gethostname(name, sizeof name - 1) == 0) add(name);
  return names;
}

}  // namespace

std::expected<session::SshAccess, std::string> describe_ssh_host(const SshHostOptions& options) {
  session::SshAccess access;
  const auto user = user_name(options.user);
  if (!user)
    return std::unexpected(options.user.empty()
                               ? std::string("the user who runs this has no name ssh could use")
                               : fmt::format("there is no user {} here", printable(options.user)));
  access.user = *user;
  access.port = options.port;
  access.hosts = host_names();
  if (access.hosts.empty()) return std::unexpected("this machine has no name or address to log in at");
  glob_t found{};
  const std::string pattern = options.key_folder + "/ssh_host_*_key.pub";
  if (::glob(pattern.c_str(), 0, nullptr, &found) == 0) {
    for (std::size_t i = 0; i < found.gl_pathc && access.host_keys.size() < session::kMaxSshHostKeys; ++i) {
      const auto text = read_key_file(found.gl_pathv[i]);
      if (!text) continue;
      if (auto key = session::parse_ssh_key(without_comment(*text)))
        access.host_keys.push_back(std::move(*key));
    }
  }
  ::globfree(&found);
  if (access.host_keys.empty())
    return std::unexpected(fmt::format("there is no usable host key in {}: is an ssh server installed here?",
                                       printable(options.key_folder)));
  return access;
}

std::expected<session::SshKey, std::string> read_own_ssh_key(const std::string& path,
                                                             const std::string& home) {
  std::vector<std::string> candidates;
  if (!path.empty()) {
    candidates.push_back(path);
  } else {
    for (const char* type : {"ed25519", "ecdsa", "rsa"})
      candidates.push_back(fmt::format("{}/.ssh/id_{}.pub", home, type));
  }
  for (const std::string& candidate : candidates) {
    const auto text = read_key_file(candidate);
    if (!text && path.empty() && text.error() == ENOENT) continue;
    if (!text)
      return std::unexpected(
          fmt::format("cannot read {}: {}", printable(candidate), std::strerror(text.error())));
    auto key = session::parse_ssh_key(*text);
    if (!key && key.error() == session::SshKeyError::BadComment)
      key = session::parse_ssh_key(without_comment(*text));
    if (!key)
      return std::unexpected(
          fmt::format("{} cannot be used: {}", printable(candidate), session::to_string(key.error())));
    return *key;
  }
  return std::unexpected("there is no ssh key of yours; `ssh-keygen -t ed25519` makes one");
}

}  // namespace dh::io
