#pragma once

// The inside of Connection, private to connection*.cc: connection.cc is the public face and builds the parts,
// connection_callbacks.cc is what ngtcp2 calls, connection_transmit.cc what leaves, connection_paths.cc
// changes of the path.

#include <deque>
#include <ngtcp2/ngtcp2.h>
#include <unordered_map>

#include <netinet/in.h>

#include "quic/connection.hh"
#include "quic/stream.hh"
#include "quic/stream_scheduler.hh"
#include "quic/tls.hh"

namespace dh::quic {

struct Connection::Impl {
  Impl(const Config& config_in, Instant now_in, Rng& rng_in);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  // connection.cc
  void start_client(Instant now);
  bool start_server(ByteView datagram, Instant now);
  void drop_handshake();
  TlsOptions tls_options() const;
  bool update_keys(Instant at);
  ngtcp2_settings settings(Instant now);
  ngtcp2_transport_params transport_params() const;
  ngtcp2_path path();
  void fill_connection_id(ngtcp2_cid& id, std::size_t size);
  bool datagram(ByteView bytes, Instant now);
  void timeout(Instant now);
  void fail(int ngtcp2_error, Instant now);
  void end(CloseCause cause, std::uint64_t code);

  // connection_transmit.cc
  std::optional<std::size_t> transmit(ByteSpan out, Instant now);
  std::optional<std::size_t> write_packet(ByteSpan out, Instant now);
  std::optional<std::size_t> write_nudge(ByteSpan out, Instant now);
  void burst_over(Instant at);
  bool may_wait() const;
  Duration answer_delay() const;
  void sent(Stream& stream, std::size_t size, bool with_end);
  void take_turns(Stream& stream);
  std::size_t unsent_limit() const;

  // connection_paths.cc
  void path_changed(std::size_t bytes, Instant now);
  void watch_rtt(Instant at);
  void unlearn(Instant at);

  // connection_callbacks.cc
  ngtcp2_callbacks callbacks() const;
  void established_now();
  void opened(StreamId id);
  void received(Stream& stream, ByteView data, bool end);
  void stream_closed(Stream& stream);
  void forget(Stream& stream);

  Stream* find(StreamId id);
  const Stream* find(StreamId id) const;

  Config config;
  Rng& rng;
  ConnectionRef ref;
  std::optional<TlsSession> tls;
  ngtcp2_conn* conn = nullptr;
  sockaddr_in local{}, remote{};  // made up: see Connection
  std::uint32_t path_number = 1;
  PiecePool pool;
  WindowBudget budget;
  std::size_t unsent = 0;  // bytes of all streams
  std::unordered_map<StreamId, Stream> streams;
  Stream* last_found = nullptr;  // mostly it is the same one again
  StreamScheduler scheduler;
  std::deque<Event> events;
  std::optional<Bytes> last_words;  // a CONNECTION_CLOSE to be sent
  Counters counters;
  std::size_t burst_bytes = 0;            // sent since pacing was last told
  Instant next_burst{};                   // when pacing lets the next one leave
  bool paced = false;                     // pacing is what that one waits for
  std::optional<Instant> watch_rtt_from;  // after a change of the path
  Instant watch_rtt_until{};
  std::optional<CloseCause> close_cause;
  std::optional<Instant> stranded_until;  // no path is valid: nothing leaves before somebody is heard
  Instant now{};                          // of the input or output under way, for what ngtcp2 calls meanwhile
  bool streams_wanted = false;            // more than our own memory allows
  bool established = false, closed = false, ask_now = false, nudge = false;
  unsigned unanswered = 0;  // datagrams since anything was written
  bool urgent = false;      // something to say that is no stream's bytes
  Instant quiet_until{};    // nothing but what may wait and pacing is due before
  bool put_off = false;     // ... and there may be something that waits
};

inline constexpr std::size_t kServerIdBytes = 12;
inline constexpr std::size_t kNudgeFrame = 2;  // bytes: a DATAGRAM with nothing in it

/// What stands for a path towards ngtcp2: every one there ever was has an address of its own.
sockaddr_in fake_address(std::uint32_t number);

/// ngtcp2 counts nanoseconds as well, and takes 0 for no time at all.
inline ngtcp2_tstamp timestamp(Instant at) {
  return static_cast<ngtcp2_tstamp>(at.time_since_epoch().count()) + NGTCP2_SECONDS;
}

}  // namespace dh::quic
