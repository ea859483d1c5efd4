#pragma once

#include <functional>
#include <map>
#include <memory>

#include <boost/asio.hpp>

#include "quic/connection.hh"
#include "tunnel/bridge.hh"
#include "tunnel/stream_header.hh"

namespace dh::io {

namespace asio = boost::asio;
/// A TCP or Unix stream socket.
using StreamSocket = asio::generic::stream_protocol::socket;

struct FlowCounters {
  std::uint64_t opened = 0, finished = 0, reset = 0, refused = 0;
  std::uint64_t bytes_to_stream = 0, bytes_to_tcp = 0;
};

/// Carries TCP connections over the streams of one QUIC connection: reads a socket only as far as its stream
/// has room, reads a stream only as far as its socket takes it. A resource on one executor.
class TcpFlows {
public:
  using OnChange = std::function<void()>;  // something was put into the connection: drain it
  /// Sharing side: a stream with a good header wants a socket. Answer with attach() or refuse(), perhaps
  /// later.
  using OnWanted = std::function<void(quic::StreamId stream, const tunnel::StreamHeader& header)>;
  using OnReset = std::function<void(std::uint64_t code)>;  // by the peer

  TcpFlows(asio::any_io_executor executor, quic::Connection& connection, OnChange on_change,
           OnWanted on_wanted, OnReset on_reset);
  ~TcpFlows();

  /// Opening side. False: no stream is free; `socket` is left alone.
  bool open(StreamSocket& socket, const tunnel::StreamHeader& header);
  /// Sharing side.
  void attach(quic::StreamId stream, StreamSocket socket);
  void refuse(quic::StreamId stream, tunnel::StreamCode why);

  void on_event(const quic::Event& event);
  /// The session is over: every TCP peer gets a RST, now. Events that come later are ignored.
  void reset_all();

  std::size_t size() const;
  const FlowCounters& counters() const;

private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with pending waits
};

/// Closes with a RST.
void reset_socket(StreamSocket& socket);
/// Until both directions have come to their end a TCP socket is closed with a RST, whoever closes it, our
/// death included: nobody takes what came so far for the whole. Also for a listener, whose connections
/// inherit it.
void reset_unless_finished(int fd, bool reset);
/// Small writes leave at once; nothing waits; dead peers are noticed; reset_unless_finished.
void prepare_socket(StreamSocket& socket);

}  // namespace dh::io
