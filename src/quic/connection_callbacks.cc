// What ngtcp2 calls. Nothing here throws but bad_alloc, which ends the program.

#include <ngtcp2/ngtcp2_crypto.h>
#include <utility>

#include "quic/connection_impl.hh"
#include "quic/packet_keys.hh"

namespace dh::quic {
namespace {

// A draw of a single byte decides, when a connection begins, whether it clears QUIC's fixed bit (RFC 9287,
// which 0.12 always offers). That bit tells QUIC from our other datagrams: it stays set. (BBR draws single
// bytes too, for one choice out of seven.)
void fill_random(std::uint8_t* out, std::size_t size, const ngtcp2_rand_ctx* context) {
  static_cast<Rng*>(context->native_handle)->fill({reinterpret_cast<std::byte*>(out), size});
  if (size == 1) *out &= 0xfe;
}

}  // namespace

ngtcp2_callbacks Connection::Impl::callbacks() const {
  ngtcp2_callbacks out{};
  out.client_initial = config.server ? nullptr : ngtcp2_crypto_client_initial_cb;
  out.recv_client_initial = config.server ? ngtcp2_crypto_recv_client_initial_cb : nullptr;
  out.recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb;
  set_packet_callbacks(out);
  if (config.ciphers == PacketCiphers::Own) use_own_packet_keys(out);
  out.recv_retry = ngtcp2_crypto_recv_retry_cb;
  out.version_negotiation = ngtcp2_crypto_version_negotiation_cb;
  out.rand = fill_random;
  out.get_path_challenge_data = [](ngtcp2_conn*, std::uint8_t* data, void* self) {
    static_cast<Connection::Impl*>(self)->rng.fill(
        {reinterpret_cast<std::byte*>(data), NGTCP2_PATH_CHALLENGE_DATALEN});
    return 0;
  };
  out.get_new_connection_id = [](ngtcp2_conn*, ngtcp2_cid* id, std::uint8_t* token, std::size_t size,
                                 void* self) {
    auto& impl = *static_cast<Connection::Impl*>(self);
    impl.fill_connection_id(*id, size);
    impl.rng.fill({reinterpret_cast<std::byte*>(token), NGTCP2_STATELESS_RESET_TOKENLEN});
    return 0;
  };
  out.handshake_completed = [](ngtcp2_conn*, void* self) {
    auto& impl = *static_cast<Connection::Impl*>(self);
    if (!impl.tls->is_what_was_asked_for()) return NGTCP2_ERR_CALLBACK_FAILURE + 0;
    impl.established_now();
    return 0;
  };
  out.stream_open = [](ngtcp2_conn*, std::int64_t id, void* self) {
    auto& impl = *static_cast<Connection::Impl*>(self);
    impl.opened(id);
    impl.events.push_back(StreamOpened{id});
    return 0;
  };
  out.recv_stream_data = [](ngtcp2_conn*, std::uint32_t flags, std::int64_t id, std::uint64_t offset,
                            const std::uint8_t* data, std::size_t size, void* self, void*) {
    auto& impl = *static_cast<Connection::Impl*>(self);
    if (Stream* stream = impl.find(id))
      impl.received(*stream, {reinterpret_cast<const std::byte*>(data), size},
                    (flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0);
    if (offset + size == kFirstWindow) impl.urgent = true;  // it waits to hear of the window it really has
    return 0;
  };
  out.acked_stream_data_offset = [](ngtcp2_conn*, std::int64_t id, std::uint64_t, std::uint64_t size,
                                    void* self, void*) {
    if (Stream* stream = static_cast<Connection::Impl*>(self)->find(id))
      stream->send.on_acknowledged(static_cast<std::size_t>(size));
    return 0;
  };
  out.stream_close = [](ngtcp2_conn*, std::uint32_t, std::int64_t id, std::uint64_t, void* self, void*) {
    auto& impl = *static_cast<Connection::Impl*>(self);
    if (Stream* stream = impl.find(id)) impl.stream_closed(*stream);
    return 0;
  };
  out.stream_reset = [](ngtcp2_conn*, std::int64_t id, std::uint64_t, std::uint64_t code, void* self, void*) {
    auto& impl = *static_cast<Connection::Impl*>(self);
    Stream* stream = impl.find(id);
    if (stream == nullptr || stream->receive_over) return 0;
    stream->receive_over = true;
    const std::size_t unread = stream->receive.size();
    stream->receive.drop(unread);
    ngtcp2_conn_extend_max_offset(impl.conn, unread);
    if (!stream->released) impl.events.push_back(StreamReset{id, code});
    return 0;
  };
  out.extend_max_local_streams_bidi = [](ngtcp2_conn*, std::uint64_t, void* self) {
    auto& impl = *static_cast<Connection::Impl*>(self);
    if (impl.established) impl.events.push_back(StreamsAvailable{});
    return 0;
  };
  out.extend_max_stream_data = [](ngtcp2_conn*, std::int64_t id, std::uint64_t, void* self, void*) {
    auto& impl = *static_cast<Connection::Impl*>(self);
    if (Stream* stream = impl.find(id)) impl.take_turns(*stream);
    return 0;
  };
  return out;
}

void Connection::Impl::established_now() {
  established = urgent = true;
  events.push_back(Established{});
}

// The first limit, which the peer knew before, is narrow. The opener tells of the wider one along with the
// first bytes, so that no answer waits for it.
void Connection::Impl::opened(StreamId id) {
  Stream& made = streams.try_emplace(id, id, pool, budget).first->second;
  ++counters.streams_opened;
  ngtcp2_conn_extend_max_stream_offset(conn, id, made.window.on_open());
}

void Connection::Impl::received(Stream& stream, ByteView data, bool last) {
  if (stream.released || stream.receive_over) {
    ngtcp2_conn_extend_max_offset(conn, data.size());
  } else {
    stream.receive.append(data);
  }
  stream.end_received = stream.end_received || last;
  if (last) stream.window.end(stream.receive.size());
  if (stream.readable_told || stream.released || stream.receive_over) return;
  stream.readable_told = true;
  events.push_back(StreamReadable{stream.id});
}

void Connection::Impl::stream_closed(Stream& stream) {
  stream.closed = true;
  stream.window.end(stream.receive.size());
  if (!stream.send_over && !stream.end_sent && !stream.released) events.push_back(StreamStopped{stream.id});
  scheduler.deactivate(stream.id);
  ++counters.streams_done;
  if (stream.released) forget(stream);
}

// Its memory is free, so the peer may open another one.
void Connection::Impl::forget(Stream& stream) {
  const StreamId id = stream.id;
  last_found = nullptr;
  unsent -= stream.send.unsent();
  streams.erase(id);
  if (config.server && !closed) ngtcp2_conn_extend_max_streams_bidi(conn, 1);
  if (!closed && std::exchange(streams_wanted, false)) events.push_back(StreamsAvailable{});
}

}  // namespace dh::quic
