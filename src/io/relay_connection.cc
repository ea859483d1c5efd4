#include "io/relay_connection.hh"

#include <cerrno>

namespace dh::io {
namespace {

constexpr std::size_t kPooledBuffers = 64;             // as many as write in one turn, usually
constexpr std::size_t kPooledBufferBytes = 256 << 10;  // a buffer that grew beyond is freed instead

}  // namespace

Bytes BufferPool::take() {
  if (free_.empty()) return {};
  Bytes buffer = std::move(free_.back());
  free_.pop_back();
  return buffer;
}

void BufferPool::give(Bytes&& buffer) {
  buffer.clear();
  if (buffer.capacity() != 0 && buffer.capacity() <= kPooledBufferBytes && free_.size() < kPooledBuffers)
    free_.push_back(std::move(buffer));
  else
    Bytes().swap(buffer);
}

RelayConnection::RelayConnection(Fd socket, derp::ConnectionId connection_id, const Endpoint& peer_endpoint,
                                 const TlsServerContext* context)
    : id(connection_id), peer(peer_endpoint), fd(std::move(socket)) {
  if (context != nullptr) tls = std::make_unique<TlsSession>(*context);
}

std::optional<std::ptrdiff_t> RelayConnection::receive(ByteSpan into) {
  const ssize_t size = ::recv(fd.get(), into.data(), into.size(), 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return std::nullopt;
  return size;
}

void RelayConnection::queue(Bytes& bytes, BufferPool& pool) {
  if (stage == ConnectionStage::WebSocket) {
    append_ws_messages(plain_, bytes);
  } else if (plain_.empty()) {
    if (plain_.capacity() == 0) plain_ = pool.take();
    plain_.swap(bytes);
  } else {
    plain_.insert(plain_.end(), bytes.begin(), bytes.end());
  }
  bytes.clear();
}

void RelayConnection::queue_text(std::string_view text) {
  const ByteView bytes = as_bytes(text);
  plain_.insert(plain_.end(), bytes.begin(), bytes.end());
}

void RelayConnection::queue_goodbye(WsClose code) {
  if (stage == ConnectionStage::WebSocket) append_ws_close(plain_, code);
}

void RelayConnection::shut_down_sending() {
  ::shutdown(fd.get(), SHUT_WR);
}

RelayConnection::Flush RelayConnection::flush(BufferPool& pool) {
  if (tls) {
    if (!plain_.empty()) {
      if (wire_.capacity() == 0) wire_ = pool.take();
      if (!tls->write(plain_, wire_)) return Flush::Failed;
      pool.give(std::move(plain_));
    }
    if (linger_after_flush) tls->close(wire_);
  } else if (!plain_.empty()) {
    if (wire_.empty()) {
      wire_.swap(plain_);
    } else {
      wire_.insert(wire_.end(), plain_.begin(), plain_.end());
    }
    plain_.clear();
  }
  bool progress = false;
  while (sent_ < wire_.size()) {
    const ssize_t size = ::send(fd.get(), wire_.data() + sent_, wire_.size() - sent_, MSG_NOSIGNAL);
    if (size < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return Flush::Failed;
      blocked = true;
      return progress ? Flush::Partial : Flush::Blocked;
    }
    progress = true;
    sent_ += static_cast<std::size_t>(size);
  }
  sent_ = 0;
  blocked = false;
  pool.give(std::move(wire_));
  pool.give(std::move(plain_));
  return Flush::Done;
}

}  // namespace dh::io
