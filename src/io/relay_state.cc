#include "io/relay_state.hh"

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/address.hh"
#include "io/listen_socket.hh"
#include "io/tls_session.hh"

namespace dh::io {
namespace {

constexpr std::size_t kMaxFileBytes = 64u << 10;  // far above a certificate with its key
constexpr std::string_view kKeyPrefix = "privkey:";
constexpr std::string_view kKeyMark = "-----BEGIN PRIVATE KEY-----";

[[noreturn]] void fail(std::string_view what, const std::filesystem::path& path, int error) {
  throw std::runtime_error(fmt::format("cannot {} {}: {}", what, path.string(), std::strerror(error)));
}

[[noreturn]] void damaged(const std::filesystem::path& path, std::string_view why) {
  throw std::runtime_error(
      fmt::format("{} is damaged ({}); restore it from a backup, or delete it to get a new identity that "
                  "clients must be told",
                  path.string(), why));
}

void make_directory(const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory.parent_path(), error);
  if (error) fail("create", directory.parent_path(), error.value());
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) fail("create", directory, errno);
  struct stat status {};
  if (::stat(directory.c_str(), &status) != 0) fail("use", directory, errno);
  if (!S_ISDIR(status.st_mode)) fail("use", directory, ENOTDIR);
  if (::chmod(directory.c_str(), 0700) != 0) fail("protect", directory, errno);
}

// nullopt when there is no such file.
std::optional<std::string> read_private(const std::filesystem::path& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) {
    if (errno == ENOENT) return std::nullopt;
    fail("read", path, errno);
  }
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) fail("read", path, errno);
  if (!S_ISREG(status.st_mode)) damaged(path, "not a regular file");
  if ((status.st_mode & 077) != 0)
    throw std::runtime_error(fmt::format("{} may be read by others: run chmod 600 on it", path.string()));
  std::string text(kMaxFileBytes + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t more = ::read(fd.get(), text.data() + size, text.size() - size);
    if (more < 0) fail("read", path, errno);
    if (more == 0) break;
    size += static_cast<std::size_t>(more);
  }
  if (size > kMaxFileBytes) damaged(path, "too long");
  text.resize(size);
  return text;
}

// Whole or not at all, also when the machine stops in between. Never replaces: another process may have been
// first.
void write_private(const std::filesystem::path& path, std::string_view text) {
  std::string temporary = path.string() + ".XXXXXX";
  const Fd fd(::mkostemp(temporary.data(), O_CLOEXEC));  // 0600
  if (!fd) fail("write", path, errno);
  while (!text.empty()) {
    const ssize_t size = ::write(fd.get(), text.data(), text.size());
    if (size < 0) {
      const int error = errno;
      ::unlink(temporary.c_str());
      fail("write", path, error);
    }
    text.remove_prefix(static_cast<std::size_t>(size));
  }
  const bool done = ::fsync(fd.get()) == 0 && ::link(temporary.c_str(), path.c_str()) == 0;
  const int error = errno;
  ::unlink(temporary.c_str());
  if (!done && error != EEXIST) fail("write", path, error);
  const Fd directory(::open(path.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory) ::fsync(directory.get());
}

KeyPair load_key(const std::filesystem::path& path, Rng& rng) {
  auto text = read_private(path);
  if (!text) {
    write_private(path, std::string(kKeyPrefix) + to_hex(KeyPair::generate(rng).secret.expose()) + "\n");
    text = read_private(path);  // ours, or that of a process that was faster
  }
  if (!text) fail("read", path, ENOENT);
  std::string_view rest = *text;
  if (rest.ends_with('\n')) rest.remove_suffix(1);
  if (!rest.starts_with(kKeyPrefix)) damaged(path, "no private key in it");
  const auto bytes = array_from_hex<32>(rest.substr(kKeyPrefix.size()));
  if (!bytes) damaged(path, "the key is not 64 hex digits");
  return KeyPair::from_private(PrivateKey(*bytes));
}

TlsIdentity load_identity(const std::filesystem::path& path, const std::vector<std::string>& hosts,
                          UnixSeconds now) {
  auto text = read_private(path);
  if (!text) {
    SelfSignedOptions options;
    options.hosts = hosts;
    const TlsIdentity made = make_self_signed(options, now);
    write_private(path, made.certificate_chain_pem + made.private_key_pem);
    text = read_private(path);
  }
  if (!text) fail("read", path, ENOENT);
  const auto key_at = text->find(kKeyMark);
  if (key_at == std::string::npos) damaged(path, "no private key in it");
  TlsIdentity identity{.certificate_chain_pem = text->substr(0, key_at),
                       .private_key_pem = text->substr(key_at)};
  try {
    (void)TlsServerContext(identity, {});  // certificate, key, and that they belong together
  } catch (const std::runtime_error& error) {
    damaged(path, error.what());
  }
  if (certificate_expiry(identity.certificate_chain_pem) <= now)
    throw std::runtime_error(fmt::format(
        "the certificate in {} has expired; delete it to get a new one, whose pin clients must be told",
        path.string()));
  return identity;
}

}  // namespace

std::filesystem::path relay_state_directory(std::string_view xdg_state_home, std::string_view home) {
  if (xdg_state_home.starts_with('/')) return std::filesystem::path(xdg_state_home) / "derphole";
  if (home.starts_with('/')) return std::filesystem::path(home) / ".local/state/derphole";
  throw std::runtime_error("no place to keep the relay's key: neither XDG_STATE_HOME nor HOME is set");
}

RelayState load_relay_state(const std::filesystem::path& directory, const std::vector<std::string>& hosts,
                            UnixSeconds now, Rng& rng) {
  make_directory(directory);
  RelayState state;
  state.key = load_key(directory / "relay.key", rng);
  state.tls = load_identity(directory / "relay.pem", hosts, now);
  return state;
}

std::string relay_server_url(std::string_view host, std::uint16_t port, const ByteArray<32>& pin) {
  const bool v6 = host.find(':') != std::string_view::npos && !host.starts_with('[');
  return fmt::format("https://{}{}{}:{}?pin=sha256-raw:{}", v6 ? "[" : "", host, v6 ? "]" : "", port,
                     to_hex(pin));
}

}  // namespace dh::io
