#pragma once

// The inside of Connection, private to connection*.cc: connection.cc is the public face and builds the parts,
// connection_callbacks.cc is what ngtcp2 calls, connection_transmit.cc what leaves.

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
  ngtcp2_settings settings(Instant now);
  ngtcp2_transport_params transport_params() const;
  ngtcp2_path path();
  void fill_connection_id(ngtcp2_cid& id, std::size_t size);
  bool datagram(ByteView bytes, Instant now);
  void timeout(Instant now);
  void path_changed(std::size_t bytes, Instant now);
  void watch_rtt(Instant at);
  void unlearn(Instant at);
  void fail(int ngtcp2_error, Instant now);
  void end(CloseCause cause, std::uint64_t code);

  // connection_transmit.cc
  std::optional<std::size_t> transmit(ByteSpan out, Instant now);
  std::optional<std::size_t> write_packet(ByteSpan out, Instant now);
  void sent(Stream& stream, std::size_t size, bool with_end);
  void take_turns(Stream& stream);
  std::size_t unsent_limit() const;

  // connection_callbacks.cc
  ngtcp2_callbacks callbacks() const;
  static std::uint64_t opened_packets();
  void established_now();
  void opened_by_peer(StreamId id);
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
  std::unordered_map<StreamId, Stream> streams;
  StreamScheduler scheduler;
  std::deque<Event> events;
  std::optional<Bytes> last_words;  // a CONNECTION_CLOSE to be sent
  Counters counters;
  std::size_t burst_bytes = 0;            // sent since pacing was last told
  std::optional<Instant> watch_rtt_from;  // after a change of the path
  Instant watch_rtt_until{};
  Instant now{};  // of the input or output under way, for what ngtcp2 calls meanwhile
  bool established = false, closed = false, ask_now = false;
};

/// ngtcp2 counts nanoseconds as well, and takes 0 for no time at all.
inline ngtcp2_tstamp timestamp(Instant at) {
  return static_cast<ngtcp2_tstamp>(at.time_since_epoch().count()) + NGTCP2_SECONDS;
}

}  // namespace dh::quic
