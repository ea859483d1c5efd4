#include "quic/connection.hh"

#include <algorithm>
#include <cstring>

#include "base/check.hh"
#include "quic/connection_impl.hh"
#include "quic/packet_keys.hh"

namespace dh::quic {
namespace {

constexpr Duration kStrandedPause = 100ms;

ngtcp2_conn* conn_of(ngtcp2_crypto_conn_ref* ref) {
  return *static_cast<ngtcp2_conn**>(ref->user_data);
}

ngtcp2_cc_algo algorithm(Controller controller) {
  switch (controller) {
    case Controller::Bbr:
      return NGTCP2_CC_ALGO_BBR;
    case Controller::Bbr2:
      return NGTCP2_CC_ALGO_BBR2;
    case Controller::Cubic:
      return NGTCP2_CC_ALGO_CUBIC;
  }
  return NGTCP2_CC_ALGO_CUBIC;
}

}  // namespace

std::string_view to_string(CloseCause cause) {
  switch (cause) {
    case CloseCause::ByPeer:
      return "closed by the peer";
    case CloseCause::ByUs:
      return "closed by us";
    case CloseCause::Silence:
      return "silence";
    case CloseCause::Protocol:
      return "protocol violated";
  }
  return "unknown";
}

bool looks_like_quic(ByteView datagram) {
  return !datagram.empty() && (static_cast<unsigned>(datagram[0]) & 0x40) != 0;
}

std::optional<std::uint32_t> server_index(ByteView datagram) {
  if (datagram.empty()) return std::nullopt;
  // A long header has version and length of the id before it (RFC 8999).
  const std::size_t at = (static_cast<unsigned>(datagram[0]) & 0x80) != 0 ? 6 : 1;
  if (datagram.size() < at + 4) return std::nullopt;
  return load_be32(datagram.data() + at);
}

Connection::Impl::Impl(const Config& config_in, Instant now_in, Rng& rng_in)
    : config(config_in), rng(rng_in), local(fake_address(1)), remote(fake_address(0)), now(now_in) {
  ref.get_conn = conn_of;
  ref.user_data = &conn;
  ref.psk = config.psk;
  if (!config.server) start_client(now);
}

Connection::Impl::~Impl() {
  ngtcp2_conn_del(conn);
}

ngtcp2_settings Connection::Impl::settings(Instant at) {
  ngtcp2_settings out;
  ngtcp2_settings_default(&out);
  out.cc_algo = algorithm(config.controller);
  out.initial_ts = timestamp(at);
  if (config.rtt)
    out.initial_rtt = static_cast<ngtcp2_duration>(std::max<Duration>(*config.rtt, 1ms).count());
  out.max_tx_udp_payload_size = kMaxDatagramBytes;
  out.no_tx_udp_payload_size_shaping = 1;  // the size is ours to know: set_datagram_bytes
  out.no_pmtud = 1;
  out.handshake_timeout = UINT64_MAX;  // the session knows how long to wait
  out.rand_ctx.native_handle = &rng;
  return out;
}

ngtcp2_transport_params Connection::Impl::transport_params() const {
  ngtcp2_transport_params out;
  ngtcp2_transport_params_default(&out);
  out.initial_max_stream_data_bidi_local = kFirstWindow;
  out.initial_max_stream_data_bidi_remote = kFirstWindow;
  out.initial_max_data = kSessionWindow;
  out.initial_max_streams_bidi = config.server ? kMaxStreams : 0;
  out.max_idle_timeout = static_cast<ngtcp2_duration>(Duration(kSilentIdle).count());
  out.max_datagram_frame_size = kNudgeFrame;
  out.active_connection_id_limit = 8;  // one is used up by every change of the path
  return out;
}

ngtcp2_path Connection::Impl::path() {
  ngtcp2_path out{};
  out.local = {reinterpret_cast<sockaddr*>(&local), sizeof local};
  out.remote = {reinterpret_cast<sockaddr*>(&remote), sizeof remote};
  return out;
}

// index | a byte that keeps relays from taking a datagram for a disco message | random
void Connection::Impl::fill_connection_id(ngtcp2_cid& id, std::size_t size) {
  CHECK(size >= 8 && size <= sizeof id.data);
  id.datalen = size;
  const ByteSpan bytes(reinterpret_cast<std::byte*>(id.data), size);
  rng.fill(bytes);
  store_be32(bytes.data(), config.index);
  bytes[4] &= std::byte{0x7f};
}

void Connection::Impl::start_client(Instant at) {
  ngtcp2_cid first{}, none{};
  first.datalen = config.first_connection_id.size();
  std::memcpy(first.data, config.first_connection_id.data(), first.datalen);
  const ngtcp2_path where = path();
  const ngtcp2_callbacks calls = callbacks();
  const ngtcp2_settings set = settings(at);
  const ngtcp2_transport_params params = transport_params();
  CHECK(ngtcp2_conn_client_new(&conn, &first, &none, &where, NGTCP2_PROTO_VER_V1, &calls, &set, &params,
                               nullptr, this) == 0);
  tls.emplace(tls_options(), ref);
  ngtcp2_conn_set_tls_native_handle(conn, tls->handle());
}

// Only who holds the session's keys knows the first id; anybody else hears nothing.
bool Connection::Impl::start_server(ByteView bytes, Instant at) {
  ngtcp2_pkt_hd header{};
  const ByteView expected = config.first_connection_id;
  const bool initial =
      ngtcp2_accept(&header, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()) == 0;
  if (!initial || header.version != NGTCP2_PROTO_VER_V1 ||
      !equal_bytes({reinterpret_cast<const std::byte*>(header.dcid.data), header.dcid.datalen}, expected) ||
      counters.refused >= kRefusedHandshakes)
    return false;
  ngtcp2_cid own{};
  fill_connection_id(own, kServerIdBytes);
  const ngtcp2_path where = path();
  const ngtcp2_callbacks calls = callbacks();
  const ngtcp2_settings set = settings(at);
  ngtcp2_transport_params params = transport_params();
  params.original_dcid = header.dcid;
  CHECK(ngtcp2_conn_server_new(&conn, &header.scid, &own, &where, header.version, &calls, &set, &params,
                               nullptr, this) == 0);
  tls.emplace(tls_options(), ref);
  ngtcp2_conn_set_tls_native_handle(conn, tls->handle());
  return true;
}

TlsOptions Connection::Impl::tls_options() const {
  TlsOptions out;
  out.server = config.server;
  out.prefers_aes = config.prefers_aes;
  out.own_packet_keys = config.ciphers == PacketCiphers::Own;
  return out;
}

// Somebody who saw the first id go by, but has no key, shall not keep the owner of the key out.
void Connection::Impl::drop_handshake() {
  ++counters.refused;
  ngtcp2_conn_del(conn);
  conn = nullptr;
  tls.reset();
}

bool Connection::Impl::datagram(ByteView bytes, Instant at) {
  now = at;
  if (closed) return false;
  if (!looks_like_quic(bytes) || (conn == nullptr && !start_server(bytes, at))) {
    ++counters.foreign;
    return false;
  }
  const std::uint64_t opened = opened_packets();
  const ngtcp2_path where = config.server ? path() : *ngtcp2_conn_get_path(conn);
  const ngtcp2_pkt_info info{};
  int result = ngtcp2_conn_read_pkt(conn, &where, &info, reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                    bytes.size(), timestamp(at));
  ++counters.datagrams_in;
  counters.bytes_in += bytes.size();
  if (++unanswered == 1) quiet_until = at + answer_delay();
  // A stream with 1,000 holes takes nothing behind its first one, and 0.12 tells that in this way alone. The
  // datagram was not noted as received, so it counts as lost as soon as a later one is acknowledged (see
  // nudge).
  if (result == NGTCP2_ERR_INTERNAL && established) {
    ++counters.unplaced;
    result = 0;
  }
  if (result != 0) {
    fail(result, at);
  } else {
    stranded_until.reset();
    watch_rtt(at);
  }
  // Keys of the handshake's first packets are public, those of short headers are not.
  const bool short_header = (static_cast<unsigned>(bytes[0]) & 0x80) == 0;
  return short_header && established && opened_packets() != opened;
}

void Connection::Impl::timeout(Instant at) {
  now = at;
  if (conn == nullptr || closed || ngtcp2_conn_get_expiry(conn) > timestamp(at)) return;
  const int result = ngtcp2_conn_handle_expiry(conn, timestamp(at));
  if (result != 0) return fail(result, at);
  ngtcp2_conn_stat stat{};
  ngtcp2_conn_get_conn_stat(conn, &stat);
  nudge = established && stat.pto_count > 0;
}

void Connection::Impl::fail(int error, Instant at) {
  if (closed) return;
  switch (error) {
    case NGTCP2_ERR_DRAINING: {
      ngtcp2_connection_close_error why{};
      ngtcp2_conn_get_connection_close_error(conn, &why);
      if (why.type == NGTCP2_CONNECTION_CLOSE_ERROR_CODE_TYPE_APPLICATION)
        return end(CloseCause::ByPeer, why.error_code);
      return end(CloseCause::Protocol, why.error_code);
    }
    // The path that it was about to validate, which exists for it alone, did not answer: the real one is
    // interrupted. Whatever comes next comes from yet another place, and is validated anew.
    case NGTCP2_ERR_NO_VIABLE_PATH:
      if (!config.server) break;
      remote = fake_address(++path_number);
      stranded_until = at + kStrandedPause;
      return;
    case NGTCP2_ERR_IDLE_CLOSE:
    case NGTCP2_ERR_HANDSHAKE_TIMEOUT:
      return end(CloseCause::Silence, 0);
    default:
      break;
  }
  if (config.server && !established) return drop_handshake();
  ngtcp2_connection_close_error why{};
  ngtcp2_connection_close_error_default(&why);
  if (error == NGTCP2_ERR_CRYPTO) {
    ngtcp2_connection_close_error_set_transport_error_tls_alert(&why, ngtcp2_conn_get_tls_alert(conn),
                                                                nullptr, 0);
  } else {
    ngtcp2_connection_close_error_set_transport_error_liberr(&why, error, nullptr, 0);
  }
  Bytes words(kMinDatagramBytes);
  ngtcp2_pkt_info info{};
  const auto size = ngtcp2_conn_write_connection_close(
      conn, nullptr, &info, reinterpret_cast<std::uint8_t*>(words.data()), words.size(), &why, timestamp(at));
  if (size > 0 && established) {
    words.resize(static_cast<std::size_t>(size));
    last_words = std::move(words);
  }
  end(CloseCause::Protocol, why.error_code);
}

void Connection::Impl::end(CloseCause cause, std::uint64_t code) {
  closed = true;
  close_cause = cause;
  events.push_back(Closed{cause, code});
}

Stream* Connection::Impl::find(StreamId id) {
  if (last_found != nullptr && last_found->id == id) return last_found;
  const auto found = streams.find(id);
  if (found == streams.end()) return nullptr;
  return last_found = &found->second;
}
const Stream* Connection::Impl::find(StreamId id) const {
  return const_cast<Impl*>(this)->find(id);
}

bool Connection::Impl::update_keys(Instant at) {
  return established && !closed && ngtcp2_conn_initiate_key_update(conn, timestamp(at)) == 0;
}

// ---- the public face --------------------------------------------------------------------------------------

Connection::Connection(const Config& config, Instant now, Rng& rng)
    : impl_(std::make_unique<Impl>(config, now, rng)) {}
Connection::~Connection() = default;

bool Connection::on_datagram(ByteView datagram, Instant now) {
  return impl_->datagram(datagram, now);
}
void Connection::on_timeout(Instant now) {
  impl_->timeout(now);
}
void Connection::on_path_changed(std::size_t datagram_bytes, Instant now) {
  impl_->path_changed(datagram_bytes, now);
}
void Connection::set_datagram_bytes(std::size_t datagram_bytes) {
  impl_->config.datagram_bytes = std::clamp(datagram_bytes, kMinDatagramBytes, kMaxDatagramBytes);
}

std::optional<StreamId> Connection::open_stream() {
  if (impl_->closed || impl_->config.server || !impl_->established) return std::nullopt;
  // The peer may be through with streams whose answers nobody has read here.
  impl_->streams_wanted = impl_->streams.size() >= kMaxStreams;
  std::int64_t id = 0;
  if (impl_->streams_wanted || ngtcp2_conn_open_bidi_stream(impl_->conn, &id, nullptr) != 0)
    return std::nullopt;
  impl_->opened(id);
  return id;
}

std::size_t Connection::writable(StreamId stream) const {
  const Stream* found = impl_->find(stream);
  if (found == nullptr || found->finishing || found->send_over || found->closed || impl_->closed) return 0;
  const std::size_t limit = impl_->unsent_limit(), unsent = found->send.unsent();
  return unsent < limit ? limit - unsent : 0;
}

std::size_t Connection::write(StreamId stream, ByteView data) {
  Stream* found = impl_->find(stream);
  if (found == nullptr) return 0;
  const std::size_t taken = std::min(data.size(), writable(stream));
  if (taken < data.size()) found->writable_wanted = true;
  if (taken == 0) return 0;
  found->send.append(data.first(taken));
  impl_->unsent += taken;
  if (found->send.unsent() >= impl_->unsent_limit()) found->writable_wanted = true;
  impl_->scheduler.activate(stream);
  return taken;
}

std::size_t Connection::rooms(StreamId stream, std::span<ByteSpan> out) {
  Stream* found = impl_->find(stream);
  const std::size_t most = writable(stream);
  if (found != nullptr && most == 0) found->writable_wanted = true;
  return found == nullptr || most == 0 ? 0 : found->send.rooms(out, most);
}

void Connection::wrote(StreamId stream, std::size_t size) {
  Stream* found = impl_->find(stream);
  if (found == nullptr) return;
  found->send.grow(size);
  impl_->unsent += size;
  if (found->send.unsent() >= impl_->unsent_limit()) found->writable_wanted = true;
  if (size > 0) impl_->scheduler.activate(stream);
}

void Connection::finish(StreamId stream) {
  Stream* found = impl_->find(stream);
  if (found == nullptr || found->finishing || found->send_over || found->closed) return;
  found->finishing = true;
  impl_->scheduler.activate(stream);
}

ByteView Connection::readable(StreamId stream) const {
  const Stream* found = impl_->find(stream);
  return found == nullptr || found->receive_over ? ByteView{} : found->receive.front();
}

std::size_t Connection::readable(StreamId stream, std::span<ByteView> out) const {
  const Stream* found = impl_->find(stream);
  return found == nullptr || found->receive_over ? 0 : found->receive.fronts(out);
}

void Connection::consume(StreamId stream, std::size_t size, Instant now) {
  Stream* found = impl_->find(stream);
  if (found == nullptr || size == 0) return;
  found->receive.drop(size);
  if (found->receive.size() == 0) found->readable_told = false;
  if (impl_->closed) return;
  ngtcp2_conn_extend_max_offset(impl_->conn, size);
  const std::uint64_t moved = found->window.on_read(size, path().smoothed_rtt, now);
  if (moved > 0) ngtcp2_conn_extend_max_stream_offset(impl_->conn, stream, moved);
}

bool Connection::at_end(StreamId stream) const {
  const Stream* found = impl_->find(stream);
  return found != nullptr && found->end_received && found->receive.size() == 0;
}

void Connection::reset(StreamId stream, std::uint64_t code) {
  Stream* found = impl_->find(stream);
  if (found == nullptr || found->send_over || found->closed || impl_->closed) return;
  found->send_over = true;
  impl_->urgent = true;
  impl_->scheduler.deactivate(stream);
  ngtcp2_conn_shutdown_stream_write(impl_->conn, stream, code);
}

void Connection::stop_sending(StreamId stream, std::uint64_t code) {
  Stream* found = impl_->find(stream);
  if (found == nullptr || found->receive_over || impl_->closed) return;
  found->receive_over = true;
  const std::size_t unread = found->receive.size();
  found->receive.drop(unread);
  ngtcp2_conn_extend_max_offset(impl_->conn, unread);
  if (found->closed || found->end_received) return;
  impl_->urgent = true;
  ngtcp2_conn_shutdown_stream_read(impl_->conn, stream, code);
}

void Connection::release(StreamId stream, Instant now) {
  Stream* found = impl_->find(stream);
  if (found == nullptr) return;
  consume(stream, found->receive.size(), now);
  found->released = true;
  if (found->closed) impl_->forget(*found);
}

bool Connection::update_keys(Instant now) {
  return impl_->update_keys(now);
}

void Connection::close(std::uint64_t code, Instant now) {
  if (impl_->closed) return;
  if (impl_->conn != nullptr && impl_->established) {
    ngtcp2_connection_close_error why{};
    ngtcp2_connection_close_error_set_application_error(&why, code, nullptr, 0);
    Bytes words(kMinDatagramBytes);
    ngtcp2_pkt_info info{};
    const auto size = ngtcp2_conn_write_connection_close(impl_->conn, nullptr, &info,
                                                         reinterpret_cast<std::uint8_t*>(words.data()),
                                                         words.size(), &why, timestamp(now));
    if (size > 0) {
      words.resize(static_cast<std::size_t>(size));
      impl_->last_words = std::move(words);
    }
  }
  impl_->end(CloseCause::ByUs, code);
}

std::optional<std::size_t> Connection::poll_transmit(ByteSpan out, Instant now) {
  return impl_->transmit(out, now);
}

std::optional<Event> Connection::poll_event() {
  if (impl_->events.empty()) return std::nullopt;
  const Event event = impl_->events.front();
  impl_->events.pop_front();
  return event;
}

std::optional<Instant> Connection::next_timeout() const {
  if (impl_->conn == nullptr || impl_->closed) return std::nullopt;
  const ngtcp2_tstamp expiry = ngtcp2_conn_get_expiry(impl_->conn);
  if (expiry == UINT64_MAX) return std::nullopt;
  // A nanosecond later: not all deadlines of 0.12 have come when they are reached.
  Instant due(Duration(static_cast<std::int64_t>(expiry - NGTCP2_SECONDS) + 1));
  if (impl_->stranded_until) due = std::max(due, *impl_->stranded_until);
  if (!impl_->may_wait()) return due;
  // What was put off has no deadline of its own in ngtcp2: a window's news, a repair.
  return impl_->put_off ? impl_->quiet_until : std::max(due, impl_->quiet_until);
}

bool Connection::is_established() const {
  return impl_->established && !impl_->closed;
}
std::optional<CloseCause> Connection::close_cause() const {
  return impl_->close_cause;
}

bool Connection::is_closed() const {
  return impl_->closed;
}
std::size_t Connection::open_streams() const {
  return impl_->streams.size();
}
Counters Connection::counters() const {
  return impl_->counters;
}

PathFigures Connection::path() const {
  PathFigures out;
  if (impl_->conn == nullptr) return out;
  ngtcp2_conn_stat stat{};
  ngtcp2_conn_get_conn_stat(impl_->conn, &stat);
  out.smoothed_rtt = Duration(static_cast<std::int64_t>(stat.smoothed_rtt));
  out.window_bytes = stat.cwnd;
  out.in_flight_bytes = stat.bytes_in_flight;
  out.unanswered_probes = static_cast<unsigned>(stat.pto_count);
  return out;
}

}  // namespace dh::quic
