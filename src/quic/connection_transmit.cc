#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/check.hh"
#include "quic/connection_impl.hh"

namespace dh::quic {
namespace {

constexpr std::size_t kMaxViews = 16;  // pieces of a stream in one packet
// Of sending that a late timer held up: what may be made up for at once is an eighth of a round trip's worth.
constexpr Duration kLeastCatchUp = 1ms, kMostCatchUp = 8ms;

}  // namespace

std::size_t Connection::Impl::unsent_limit() const {
  const std::size_t left = kUnsentBudget - std::min(unsent, kUnsentBudget);
  return std::clamp(left / kUnsentShare, kMinUnsent, kMaxUnsent);
}

void Connection::Impl::take_turns(Stream& stream) {
  const bool has_something = stream.send.unsent() > 0 || (stream.finishing && !stream.end_sent);
  if (has_something && !stream.send_over && !stream.closed) scheduler.activate(stream.id);
}

void Connection::Impl::sent(Stream& stream, std::size_t size, bool with_end) {
  stream.send.on_sent(size);
  unsent -= size;
  scheduler.charge(stream.id, size);
  if (with_end && stream.send.unsent() == 0) stream.end_sent = true;
  if (stream.send.unsent() == 0 && (!stream.finishing || stream.end_sent)) scheduler.deactivate(stream.id);
  if (stream.writable_wanted && !stream.finishing && stream.send.unsent() <= unsent_limit() / 2) {
    stream.writable_wanted = false;
    if (!stream.released) events.push_back(StreamWritable{stream.id});
  }
}

// Nothing could leave now but acknowledgements, repairs and news of limits.
bool Connection::Impl::may_wait() const {
  return established && !urgent && !ask_now && scheduler.empty();
}

Duration Connection::Impl::answer_delay() const {
  ngtcp2_conn_stat stat{};
  ngtcp2_conn_get_conn_stat(conn, &stat);
  const Duration rtt(static_cast<std::int64_t>(stat.smoothed_rtt));
  return rtt < 8 * kAnswerDelay ? Duration(kAnswerDelay) : Duration::zero();
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
  put_off = may_wait() && unanswered < kAnswerEvery && at < quiet_until;
  if (put_off) return std::nullopt;
  if (burst_bytes >= ngtcp2_conn_get_send_quantum(conn)) burst_over(at);  // the pacer spaces such bursts
  if (std::exchange(nudge, false)) {
    if (const auto size = write_nudge(out, at)) {
      ++counters.datagrams_out;
      counters.bytes_out += *size;
      return size;
    }
    if (closed) return std::nullopt;
  }
  if (ask_now)
    ngtcp2_conn_set_keep_alive_timeout(conn, 1);  // a PING: the new path shall not wait for a timer
  const auto size = write_packet(out.first(std::min(out.size(), config.datagram_bytes)), at);
  if (ask_now && conn != nullptr) {
    ngtcp2_conn_set_keep_alive_timeout(conn, 0);
    ask_now = false;
  }
  if (size) {
    if (burst_bytes == 0 && !paced) next_burst = at;  // it waited for the window, or for something to send
    burst_bytes += *size;
    ++counters.datagrams_out;
    counters.bytes_out += *size;
  } else if (conn != nullptr) {
    burst_over(at);
    paced = next_burst > at;
    urgent = false;
    unanswered = 0;
    quiet_until = at + answer_delay();
  }
  return size;
}

// ngtcp2 counts the pause behind a burst from the moment it is told. Timers are late, though, and if every
// pause began late the rate would be lower than it is meant to be, so that BBR would not even learn of a path
// that carries more: a pause is counted from when its burst was due.
void Connection::Impl::burst_over(Instant at) {
  if (burst_bytes == 0) return;
  ngtcp2_conn_stat stat{};
  ngtcp2_conn_get_conn_stat(conn, &stat);
  const Duration rtt(static_cast<std::int64_t>(stat.smoothed_rtt));
  const Duration catch_up = std::clamp<Duration>(rtt / 8, kLeastCatchUp, kMostCatchUp);
  const Instant from = std::clamp(next_burst, at - catch_up, at);
  ngtcp2_conn_update_pkt_tx_time(conn, timestamp(from));
  next_burst = at;
  if (stat.pacing_rate > 0) {  // bytes in a nanosecond
    const double pause = static_cast<double>(burst_bytes) / stat.pacing_rate;
    next_burst = from + Duration(static_cast<std::int64_t>(std::min(pause, 1e9)));
  }
  burst_bytes = 0;
  paced = true;
}

// The first probe when nothing is acknowledged any more: too small for anything of a stream, which the peer
// might be unable to place. Once it is acknowledged, whatever was sent before counts as lost.
std::optional<std::size_t> Connection::Impl::write_nudge(ByteSpan out, Instant at) {
  constexpr std::size_t kLargest =
      1 + 4 + 16 + kNudgeFrame + 2;  // flags, number, tag; and no room for a stream's frame
  const std::size_t id = config.server ? 0 : kServerIdBytes;
  ngtcp2_pkt_info info{};
  const ngtcp2_ssize size = ngtcp2_conn_writev_datagram(
      conn, nullptr, &info, reinterpret_cast<std::uint8_t*>(out.data()), std::min(out.size(), kLargest + id),
      nullptr, NGTCP2_WRITE_DATAGRAM_FLAG_NONE, 0, nullptr, 0, timestamp(at));
  if (size > 0) return static_cast<std::size_t>(size);
  if (size < 0 && size != NGTCP2_ERR_INVALID_STATE && size != NGTCP2_ERR_INVALID_ARGUMENT)
    fail(static_cast<int>(size), at);
  return std::nullopt;
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
