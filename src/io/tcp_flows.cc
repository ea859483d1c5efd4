#include "io/tcp_flows.hh"

#include <array>

#include <netinet/tcp.h>

#include "base/overloaded.hh"
#include "io/clock.hh"

namespace dh::io {
namespace {

constexpr std::size_t kPiecesPerRead = 5;      // all that a stream may hold unsent
constexpr std::size_t kPiecesPerWrite = 8;     // 512 KiB where a stream is busy
constexpr std::size_t kTurnBytes = 512 << 10;  // of one socket, then others get their turn

}  // namespace

void reset_socket(StreamSocket& socket) {
  boost::system::error_code ignored;
  socket.set_option(asio::socket_base::linger(true, 0), ignored);
  socket.close(ignored);
}

// Not by Asio's option: a socket that has it set ends with a FIN when it is destroyed.
void reset_unless_finished(int fd, bool reset) {
  const linger how{reset ? 1 : 0, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &how, sizeof how);
}

void prepare_socket(StreamSocket& socket) {
  reset_unless_finished(socket.native_handle(), true);
  boost::system::error_code ignored;  // Unix sockets know none of this
  socket.set_option(asio::ip::tcp::no_delay(true), ignored);
  socket.set_option(asio::socket_base::keep_alive(true), ignored);
  socket.non_blocking(true, ignored);
}

struct TcpFlows::Impl : std::enable_shared_from_this<Impl> {
  struct Flow {
    explicit Flow(quic::StreamId id) : stream(id) {}
    quic::StreamId stream;
    std::optional<StreamSocket> socket;  // sharing side: once the target was reached
    Bytes header;                        // sharing side: until it is whole
    bool wants_header = false;
    tunnel::Bridge bridge;
    bool waits_readable = false, waits_writable = false;
    bool reads_much = false;  // the last read filled what it was given
  };
  using FlowPtr = std::shared_ptr<Flow>;

  Impl(asio::any_io_executor executor_in, quic::Connection& connection_in, OnChange on_change_in,
       OnWanted on_wanted_in, OnReset on_reset_in)
      : executor(std::move(executor_in)),
        connection(&connection_in),
        on_change(std::move(on_change_in)),
        on_wanted(std::move(on_wanted_in)),
        on_reset(std::move(on_reset_in)) {}

  FlowPtr find(quic::StreamId stream) const {
    const auto found = flows.find(stream);
    return found == flows.end() ? nullptr : found->second;
  }

  // socket -> stream
  void wait_readable(const FlowPtr& flow) {
    if (flow->waits_readable || !flow->socket || !flow->bridge.reads_tcp()) return;
    flow->waits_readable = true;
    flow->socket->async_wait(asio::socket_base::wait_read,
                             [self = shared_from_this(), flow](boost::system::error_code error) {
                               flow->waits_readable = false;
                               if (error || self->connection == nullptr) return;
                               self->read_socket(flow);
                               self->on_change();
                             });
  }

  void read_socket(const FlowPtr& flow) {
    for (std::size_t turn = 0; flow->bridge.reads_tcp() && !flow->bridge.is_over() && turn < kTurnBytes;) {
      std::array<ByteSpan, kPiecesPerRead> rooms;
      // Several only where one was not enough: most reads are short.
      const std::size_t count =
          connection->rooms(flow->stream, std::span(rooms).first(flow->reads_much ? rooms.size() : 1));
      if (count == 0) return;  // StreamWritable will come
      std::array<asio::mutable_buffer, kPiecesPerRead> buffers;
      std::size_t room = 0;
      for (std::size_t i = 0; i < count; ++i) {
        buffers[i] = asio::buffer(rooms[i].data(), rooms[i].size());
        room += rooms[i].size();
      }
      boost::system::error_code error;
      const std::size_t size =
          flow->socket->read_some(std::span<const asio::mutable_buffer>(buffers).first(count), error);
      connection->wrote(flow->stream, error ? 0 : size);
      if (error == asio::error::would_block || error == asio::error::try_again) break;
      if (error == asio::error::eof) {
        flow->bridge.on_tcp_end();
      } else if (error) {
        flow->bridge.on_tcp_failed();
      } else {
        counters.bytes_to_stream += size;
        turn += size;
        flow->reads_much = flow->reads_much && size > rooms[0].size();
        if (size < room) break;
        flow->reads_much = true;
      }
    }
    act(flow);
    wait_readable(flow);
  }

  // stream -> socket
  void wait_writable(const FlowPtr& flow) {
    if (flow->waits_writable || !flow->socket) return;
    flow->waits_writable = true;
    flow->socket->async_wait(asio::socket_base::wait_write,
                             [self = shared_from_this(), flow](boost::system::error_code error) {
                               flow->waits_writable = false;
                               if (error || self->connection == nullptr) return;
                               self->read_stream(flow);
                               self->on_change();
                             });
  }

  void read_stream(const FlowPtr& flow) {
    if (flow->wants_header && !read_header(flow)) return;
    if (!flow->socket || flow->waits_writable) return;
    const Instant at = now();
    while (flow->bridge.writes_tcp() && !flow->bridge.is_over()) {
      std::array<ByteView, kPiecesPerWrite> pieces;
      const std::size_t count = connection->readable(flow->stream, pieces);
      if (count == 0) {
        if (!connection->at_end(flow->stream)) return;
        flow->bridge.on_stream_end();
        break;
      }
      // All in one call: each would wake up who reads.
      std::array<asio::const_buffer, kPiecesPerWrite> buffers;
      for (std::size_t i = 0; i < count; ++i) buffers[i] = asio::buffer(pieces[i].data(), pieces[i].size());
      boost::system::error_code error;
      const std::size_t size =
          flow->socket->write_some(std::span<const asio::const_buffer>(buffers).first(count), error);
      if (error == asio::error::would_block || error == asio::error::try_again) return wait_writable(flow);
      if (error) {
        flow->bridge.on_tcp_failed();
        break;
      }
      connection->consume(flow->stream, size, at);
      counters.bytes_to_tcp += size;
    }
    act(flow);
  }

  // True: it is whole and good. Nothing of what follows is touched.
  bool read_header(const FlowPtr& flow) {
    while (flow->header.size() < tunnel::StreamHeader::kSize) {
      const ByteView piece = connection->readable(flow->stream);
      if (piece.empty()) {
        if (connection->at_end(flow->stream)) give_up(flow, tunnel::StreamCode::BadHeader);
        return false;
      }
      const std::size_t taken = std::min(piece.size(), tunnel::StreamHeader::kSize - flow->header.size());
      flow->header.insert(flow->header.end(), piece.begin(),
                          piece.begin() + static_cast<std::ptrdiff_t>(taken));
      connection->consume(flow->stream, taken, now());
    }
    flow->wants_header = false;
    const auto header = tunnel::StreamHeader::parse(flow->header);
    if (!header) {
      give_up(flow, tunnel::StreamCode::BadHeader);
      return false;
    }
    on_wanted(flow->stream, *header);
    return true;
  }

  void give_up(const FlowPtr& flow, tunnel::StreamCode why) {
    ++counters.refused;
    flow->bridge.on_tcp_refused(why);
    act(flow);
  }

  void act(const FlowPtr& flow) {
    while (const auto action = flow->bridge.poll_action()) {
      std::visit(
          Overloaded{
              [&](const tunnel::FinishStream&) { connection->finish(flow->stream); },
              [&](const tunnel::ResetStream& reset) { connection->reset(flow->stream, reset.code); },
              [&](const tunnel::StopStream& stop) { connection->stop_sending(flow->stream, stop.code); },
              [&](const tunnel::ShutdownTcp&) {
                boost::system::error_code ignored;
                if (flow->socket) flow->socket->shutdown(asio::socket_base::shutdown_send, ignored);
              },
              [&](const tunnel::CloseTcp&) {
                boost::system::error_code ignored;
                if (flow->socket) {
                  reset_unless_finished(flow->socket->native_handle(), false);
                  flow->socket->close(ignored);
                }
                ++counters.finished;
              },
              [&](const tunnel::ResetTcp&) {
                if (flow->socket) reset_socket(*flow->socket);
                ++counters.reset;
              },
          },
          *action);
    }
    if (!flow->bridge.is_over()) return;
    if (connection != nullptr) connection->release(flow->stream, now());
    flows.erase(flow->stream);
  }

  asio::any_io_executor executor;
  quic::Connection* connection;  // nullptr: it is over
  OnChange on_change;
  OnWanted on_wanted;
  OnReset on_reset;
  std::map<quic::StreamId, FlowPtr> flows;
  FlowCounters counters;
};

TcpFlows::TcpFlows(asio::any_io_executor executor, quic::Connection& connection, OnChange on_change,
                   OnWanted on_wanted, OnReset on_reset)
    : impl_(std::make_shared<Impl>(std::move(executor), connection, std::move(on_change),
                                   std::move(on_wanted), std::move(on_reset))) {}

TcpFlows::~TcpFlows() {
  reset_all();
}

bool TcpFlows::open(StreamSocket& socket, const tunnel::StreamHeader& header) {
  const auto stream = impl_->connection == nullptr ? std::nullopt : impl_->connection->open_stream();
  if (!stream) return false;
  auto flow = std::make_shared<Impl::Flow>(*stream);
  flow->socket.emplace(std::move(socket));
  impl_->flows[*stream] = flow;
  ++impl_->counters.opened;
  Bytes bytes;
  Writer writer(bytes);
  header.serialize(writer);
  impl_->connection->write(*stream, bytes);
  impl_->read_socket(flow);
  return true;
}

void TcpFlows::attach(quic::StreamId stream, StreamSocket socket) {
  const auto flow = impl_->find(stream);
  if (!flow) {  // the opener has given up meanwhile
    reset_socket(socket);
    return;
  }
  flow->socket.emplace(std::move(socket));
  impl_->read_socket(flow);
  if (!flow->bridge.is_over()) impl_->read_stream(flow);
  impl_->on_change();
}

void TcpFlows::refuse(quic::StreamId stream, tunnel::StreamCode why) {
  if (const auto flow = impl_->find(stream)) impl_->give_up(flow, why);
  impl_->on_change();
}

void TcpFlows::on_event(const quic::Event& event) {
  Impl& impl = *impl_;
  if (impl.connection == nullptr) return;  // what the connection still had to say when its session ended
  if (const auto* opened = std::get_if<quic::StreamOpened>(&event)) {
    auto flow = std::make_shared<Impl::Flow>(opened->stream);
    flow->wants_header = true;
    impl.flows[opened->stream] = flow;
    ++impl.counters.opened;
  } else if (const auto* readable = std::get_if<quic::StreamReadable>(&event)) {
    if (const auto flow = impl.find(readable->stream)) impl.read_stream(flow);
  } else if (const auto* writable = std::get_if<quic::StreamWritable>(&event)) {
    if (const auto flow = impl.find(writable->stream); flow && flow->socket && !flow->waits_readable)
      impl.read_socket(flow);
  } else if (const auto* reset = std::get_if<quic::StreamReset>(&event)) {
    if (const auto flow = impl.find(reset->stream)) {
      flow->bridge.on_stream_reset(reset->code);
      impl.act(flow);
      impl.on_reset(reset->code);
    }
  } else if (const auto* stopped = std::get_if<quic::StreamStopped>(&event)) {
    if (const auto flow = impl.find(stopped->stream)) {
      flow->bridge.on_stream_stopped();
      impl.act(flow);
    }
  }
}

void TcpFlows::reset_all() {
  impl_->connection = nullptr;
  auto flows = std::move(impl_->flows);
  impl_->flows.clear();
  for (auto& [stream, flow] : flows) {
    flow->bridge.on_stream_lost();
    if (flow->socket) reset_socket(*flow->socket);
  }
}

std::size_t TcpFlows::size() const {
  return impl_->flows.size();
}
const FlowCounters& TcpFlows::counters() const {
  return impl_->counters;
}

}  // namespace dh::io
