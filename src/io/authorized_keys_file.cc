#include "io/authorized_keys_file.hh"

#include <cerrno>
#include <cstring>
#include <optional>
#include <pwd.h>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/printable.hh"
#include "io/clock.hh"
#include "io/listen_socket.hh"
#include "io/temporary_file.hh"

namespace dh::io {
namespace {

constexpr const char* kName = "authorized_keys";
constexpr Duration kLockPatience = 5s;  // another of our processes needs milliseconds

std::unexpected<KeyFileProblem> failed(const std::string& what, int error) {
  return std::unexpected(
      KeyFileProblem{KeyFileError::Failed, fmt::format("cannot {}: {}", what, std::strerror(error))});
}
std::unexpected<KeyFileProblem> unsafe(const std::string& what) {
  return std::unexpected(KeyFileProblem{KeyFileError::Unsafe, what});
}

bool is_safe(const struct stat& info, uid_t owner) {
  return info.st_uid == owner && (info.st_mode & 022) == 0;
}

// The `.ssh` folder, locked while this lives.
struct Folder {
  Fd fd;
  std::string path;
  uid_t user;
  gid_t group;

  // What root makes for somebody becomes theirs.
  bool give(const Fd& made) const { return user == ::geteuid() || ::fchown(made.get(), user, group) == 0; }
};

std::expected<Folder, KeyFileProblem> open_folder(const std::string& home, uid_t user, gid_t group,
                                                  bool create) {
  Folder folder{.fd = {}, .path = {}, .user = user, .group = group};
  folder.path = printable(home) + "/.ssh";
  const Fd home_fd(::open(home.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!home_fd) return failed("open " + printable(home), errno);
  struct stat info {};
  if (::fstat(home_fd.get(), &info) != 0) return failed("look at " + printable(home), errno);
  if (!is_safe(info, user))
    return unsafe(printable(home) + " is not its user's alone: others may write to it");
  const bool made = create && ::mkdirat(home_fd.get(), ".ssh", 0700) == 0;
  if (create && !made && errno != EEXIST) return failed("make " + folder.path, errno);
  folder.fd = Fd(::openat(home_fd.get(), ".ssh", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder.fd && (errno == ELOOP || errno == ENOTDIR))
    return unsafe(folder.path + " is not a folder, or is a link to one; nothing was changed");
  if (!folder.fd) return failed("open " + folder.path, errno);
  if (made && !folder.give(folder.fd)) return failed("give away " + folder.path, errno);
  if (::fstat(folder.fd.get(), &info) != 0) return failed("look at " + folder.path, errno);
  if (!is_safe(info, user))
    return unsafe(folder.path + " is not its user's alone: others may write to it (chmod 700 mends it)");
  const Instant give_up = now() + kLockPatience;
  while (::flock(folder.fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return failed("lock " + folder.path, errno);
    if (now() >= give_up) return failed("lock " + folder.path, ETIMEDOUT);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return folder;
}

struct Content {
  std::string text;
  mode_t mode = 0600;
  bool exists = false;
};

std::expected<Content, KeyFileProblem> read_file(const Folder& folder) {
  Content content;
  const std::string path = folder.path + "/" + kName;
  const Fd fd(::openat(folder.fd.get(), kName, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd && errno == ENOENT) return content;
  if (!fd && errno == ELOOP) return unsafe(path + " is a link; nothing was changed");
  if (!fd) return failed("open " + path, errno);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return failed("look at " + path, errno);
  if (!S_ISREG(info.st_mode)) return unsafe(path + " is not a file; nothing was changed");
  if (!is_safe(info, folder.user) || info.st_nlink != 1)
    return unsafe(path + " is not its user's alone: others may write to it (chmod 600 mends it)");
  content.exists = true;
  content.mode = info.st_mode & 0755;
  while (content.text.size() <= session::kMaxAuthorizedKeys) {
    char buffer[16'384];
    const ssize_t size = ::read(fd.get(), buffer, sizeof buffer);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return failed("read " + path, errno);
    if (size == 0) return content;
    content.text.append(buffer, static_cast<std::size_t>(size));
  }
  return failed("read " + path, EFBIG);
}

std::expected<void, KeyFileProblem> replace_file(const Folder& folder, const std::string& text, mode_t mode) {
  const std::string path = folder.path + "/" + kName;
  auto temporary = TemporaryFile::create(folder.fd.get(), fmt::format(".{}.derphole-", kName), 0600);
  if (!temporary) return failed("write beside " + path, temporary.error());
  if (const auto written = temporary->write(text); !written)
    return failed("write beside " + path, written.error());
  const Fd& fd = temporary->fd();
  if (!folder.give(fd) || ::fchmod(fd.get(), mode) != 0 || ::fsync(fd.get()) != 0)
    return failed("save " + path, errno);
  if (::renameat(folder.fd.get(), temporary->name().c_str(), folder.fd.get(), kName) != 0)
    return failed("replace " + path, errno);
  temporary->moved();
  if (::fsync(folder.fd.get()) != 0) return failed("save " + folder.path, errno);
  return {};
}

}  // namespace

AuthorizedKeysFile::AuthorizedKeysFile(std::string home)
    : AuthorizedKeysFile(std::move(home), ::geteuid(), ::getegid()) {}

std::expected<void, KeyFileProblem> AuthorizedKeysFile::add(const session::SshGrant& grant) {
  auto folder = open_folder(home_, user_, group_, true);
  if (!folder) return std::unexpected(folder.error());
  const auto content = read_file(*folder);
  if (!content) return std::unexpected(content.error());
  const auto text = session::add_authorized_key(content->text, grant);
  if (!text && text.error() == session::AddKeyError::AlreadyThere)
    return std::unexpected(
        KeyFileProblem{KeyFileError::AlreadyThere,
                       fmt::format("this key may log in already: it is in {}/{}", folder->path, kName)});
  if (!text) return failed(fmt::format("add to {}/{}", folder->path, kName), EFBIG);
  return replace_file(*folder, *text, content->mode);
}

std::expected<std::size_t, KeyFileProblem> AuthorizedKeysFile::revoke(const std::string& id) {
  auto folder = open_folder(home_, user_, group_, false);
  if (!folder) return std::unexpected(folder.error());
  const auto content = read_file(*folder);
  if (!content) return std::unexpected(content.error());
  const auto revoked = session::revoke_authorized_keys(content->text, id);
  if (revoked.removed == 0) return std::size_t{0};
  const auto saved = replace_file(*folder, revoked.file, content->mode);
  if (!saved) return std::unexpected(saved.error());
  return revoked.removed;
}

std::expected<std::vector<session::GrantedLine>, KeyFileProblem> AuthorizedKeysFile::list() {
  auto folder = open_folder(home_, user_, group_, false);
  if (!folder) return std::unexpected(folder.error());
  const auto content = read_file(*folder);
  if (!content) return std::unexpected(content.error());
  return session::granted_lines(content->text);
}

std::expected<SystemUser, KeyFileProblem> system_user(const std::string& name) {
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> buffer(16'384);
  const int error = name.empty() ? ::getpwuid_r(::geteuid(), &entry, buffer.data(), buffer.size(), &found)
                                 : ::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (error != 0) return failed("look up the user", error);
  if (found == nullptr)
    return std::unexpected(
        KeyFileProblem{KeyFileError::Failed, fmt::format("there is no user {} here", printable(name))});
  if (found->pw_dir == nullptr || found->pw_dir[0] != '/') return failed("find the home directory", ENOENT);
  return SystemUser{
      .name = found->pw_name, .home = found->pw_dir, .user = found->pw_uid, .group = found->pw_gid};
}

}  // namespace dh::io
