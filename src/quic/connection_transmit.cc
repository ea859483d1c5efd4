#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.hh"
#include "quic/connection_impl.hh"

namespace dh::quic {
namespace {

constexpr std::size_t kMaxViews = 16;  // pieces of a stream in one packet

}  // namespace

std::size_t Connection::Impl::unsent_limit() const {
  return std::clamp(kUnsentBudget / std::max<std::size_t>(1, streams.size()), kMinUnsent, kMaxUnsent);
}

void Connection::Impl::take_turns(Stream& stream) {
  const bool has_something = stream.send.unsent() > 0 || (stream.finishing && !stream.end_sent);
  if (has_something && !stream.send_over && !stream.closed) scheduler.activate(stream.id);
}

void Connection::Impl::sent(Stream& stream, std::size_t size, bool with_end) {
  stream.send.on_sent(size);
  scheduler.charge(stream.id, size);
  if (with_end && stream.send.unsent() == 0) stream.end_sent = true;
  if (stream.send.unsent() == 0 && (!stream.finishing || stream.end_sent)) scheduler.deactivate(stream.id);
  if (stream.writable_wanted && !stream.finishing && stream.send.unsent() <= unsent_limit() / 2) {
    stream.writable_wanted = false;
    if (!stream.released) events.push_back(StreamWritable{stream.id});
  }
}

std::optional<std::size_t> Connection::Impl::transmit(ByteSpan out, Instant at) {
  now = at;
  if (last_words) {
    const Bytes words = std::move(*last_words);
    last_words.reset();
    CHECK(words.size() <= out.size());
    std::copy(words.begin(), words.end(), out.begin());
    ++counters.datagrams_out;
    return words.size();
  }
  if (conn == nullptr || closed) return std::nullopt;
  if (burst_bytes >= ngtcp2_conn_get_send_quantum(conn)) {  // the pacer spaces bursts of this size
    ngtcp2_conn_update_pkt_tx_time(conn, timestamp(at));
    burst_bytes = 0;
  }
  if (ask_now)
    ngtcp2_conn_set_keep_alive_timeout(conn, 1);  // a PING: the new path shall not wait for a timer
  const auto size = write_packet(out.first(std::min(out.size(), config.datagram_bytes)), at);
  if (ask_now && conn != nullptr) {
    ngtcp2_conn_set_keep_alive_timeout(conn, 0);
    ask_now = false;
  }
  if (size) {
    burst_bytes += *size;
    ++counters.datagrams_out;
    counters.bytes_out += *size;
  } else if (conn != nullptr) {
    ngtcp2_conn_update_pkt_tx_time(conn, timestamp(at));
    burst_bytes = 0;
  }
  return size;
}

std::optional<std::size_t> Connection::Impl::write_packet(ByteSpan out, Instant at) {
  std::array<ngtcp2_vec, kMaxViews> views;
  ngtcp2_pkt_info info{};
  for (;;) {
    const StreamId id = established ? scheduler.next() : -1;
    Stream* stream = id < 0 ? nullptr : find(id);
    std::size_t count = 0, offered = 0;
    std::uint32_t flags = NGTCP2_WRITE_STREAM_FLAG_NONE;
    bool with_end = false;
    if (stream != nullptr) {
      count = stream->send.gather(out.size(), views);
      for (std::size_t i = 0; i < count; ++i) offered += views[i].len;
      with_end = stream->finishing && offered == stream->send.unsent();
      flags = NGTCP2_WRITE_STREAM_FLAG_MORE | (with_end ? NGTCP2_WRITE_STREAM_FLAG_FIN : 0u);
    }
    ngtcp2_ssize taken = -1;
    const ngtcp2_ssize size =
        ngtcp2_conn_writev_stream(conn, nullptr, &info, reinterpret_cast<std::uint8_t*>(out.data()),
                                  out.size(), &taken, flags, id, views.data(), count, timestamp(at));
    if (stream != nullptr && taken >= 0)
      sent(*stream, static_cast<std::size_t>(taken), with_end && static_cast<std::size_t>(taken) == offered);
    if (size > 0) return static_cast<std::size_t>(size);
    switch (size) {
      case 0:
        return std::nullopt;
      case NGTCP2_ERR_WRITE_MORE:
        continue;
      case NGTCP2_ERR_STREAM_DATA_BLOCKED:  // until the peer's reader goes on
        scheduler.deactivate(id);
        continue;
      case NGTCP2_ERR_STREAM_SHUT_WR:  // the peer reads no more, and ngtcp2 has reset the stream for us
      case NGTCP2_ERR_STREAM_NOT_FOUND:
        scheduler.deactivate(id);
        if (stream != nullptr && !stream->send_over) {
          stream->send_over = true;
          if (!stream->released) events.push_back(StreamStopped{id});
        }
        continue;
      default:
        fail(static_cast<int>(size), at);
        return std::nullopt;
    }
  }
}

}  // namespace dh::quic
