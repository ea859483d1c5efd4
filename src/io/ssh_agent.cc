#include "io/ssh_agent.hh"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "io/clock.hh"
#include "io/listen_socket.hh"

namespace dh::io {
namespace {

// draft-ietf-sshm-ssh-agent §3: length u32, type u8, content.
constexpr std::uint8_t kRequestIdentities = 11;
constexpr std::uint8_t kIdentitiesAnswer = 12;
constexpr std::uint32_t kMaxAnswer = 256u << 10;  // OpenSSH's own limit
constexpr std::uint32_t kMaxKeys = 2048;          // as OpenSSH's client takes

// false: that time has come.
bool wait_readable(int fd, Instant deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - now()).count();
    if (left <= 0) return false;
    pollfd waiting{fd, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(left));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

bool read_fully(int fd, ByteSpan into, Instant deadline) {
  while (!into.empty()) {
    if (!wait_readable(fd, deadline)) return false;
    const ssize_t size = ::recv(fd, into.data(), into.size(), MSG_DONTWAIT);
    if (size < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (size <= 0) return false;
    into = into.subspan(static_cast<std::size_t>(size));
  }
  return true;
}

// For connect() and send(), which wait where too many others ask; receiving has the deadline.
void limit_sending(int fd, Duration patience) {
  const auto us = std::chrono::ceil<std::chrono::microseconds>(patience).count();
  const timeval limit{.tv_sec = us / 1'000'000, .tv_usec = us % 1'000'000};
  (void)::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

int rank(const session::SshKey& key) {
  if (key.type == "ssh-ed25519") return 0;
  if (key.type.starts_with("sk-")) return 1;
  return key.type.starts_with("ecdsa") ? 2 : 3;
}

// The blob says its type itself; a comment that does not fit into the other side's file is dropped.
std::expected<session::SshKey, session::SshKeyError> key_of(ByteView blob, std::string_view comment) {
  Reader r(blob);
  session::SshKey raw;
  raw.type = as_text(r.bytes(r.u32()));
  raw.blob.assign(blob.begin(), blob.end());
  const std::string bare = session::format_ssh_key(raw);
  raw.comment = comment;
  auto key = session::parse_ssh_key(session::format_ssh_key(raw));
  return key ? key : session::parse_ssh_key(bare);
}

}  // namespace

std::expected<std::vector<session::SshKey>, std::string> ssh_agent_keys(const std::string& socket,
                                                                        Duration patience) {
  const Instant deadline = now() + patience;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket.empty() || socket.size() >= sizeof address.sun_path)
    return std::unexpected("its socket has no usable name");
  std::memcpy(address.sun_path, socket.data(), socket.size());
  const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return std::unexpected(std::strerror(errno));
  limit_sending(fd.get(), patience);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return std::unexpected(std::strerror(errno));
  Bytes request;
  Writer w(request);
  w.u32(1);
  w.u8(kRequestIdentities);
  if (::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size()))
    return std::unexpected(std::strerror(errno));
  ByteArray<4> head;
  if (!read_fully(fd.get(), head, deadline)) return std::unexpected("it says nothing");
  const std::uint32_t size = load_be32(head.data());
  if (size < 5 || size > kMaxAnswer) return std::unexpected("it answers nonsense");
  Bytes answer(size);
  if (!read_fully(fd.get(), answer, deadline)) return std::unexpected("it stops in the middle");
  Reader r(answer);
  if (r.u8() != kIdentitiesAnswer) return std::unexpected("it refuses to list its keys");
  const std::uint32_t count = r.u32();
  if (count > kMaxKeys) return std::unexpected("it answers nonsense");
  std::vector<session::SshKey> out;
  for (std::uint32_t i = 0; i < count; ++i) {
    const ByteView blob = r.bytes(r.u32());
    const std::string_view comment = as_text(r.bytes(r.u32()));
    if (!r.ok()) return std::unexpected("it answers nonsense");
    if (auto key = key_of(blob, comment)) out.push_back(std::move(*key));
  }
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return rank(a) < rank(b); });
  return out;
}

}  // namespace dh::io
