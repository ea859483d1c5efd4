#pragma once

#include <memory>

#include "io/dial.hh"

namespace dh::io {

/// A ByteStream seen as one of Asio's asynchronous streams, so that TLS or WebSocket can sit on any of ours
/// (TLS in a TLS proxy, WebSocket in either). Costs a small coroutine per operation: not for the hot path.
/// The stream is shared with its own operations, which end a turn after the layer above has gone.
class StreamBridge {
public:
  using executor_type = asio::any_io_executor;
  using lowest_layer_type = StreamBridge;

  StreamBridge(asio::any_io_executor executor, std::shared_ptr<ByteStream> stream)
      : executor_(std::move(executor)), stream_(std::move(stream)) {}

  executor_type get_executor() const noexcept { return executor_; }
  lowest_layer_type& lowest_layer() { return *this; }
  const lowest_layer_type& lowest_layer() const { return *this; }
  ByteStream& stream() const { return *stream_; }

  template <typename Buffers, typename Token>
  auto async_read_some(const Buffers& buffers, Token&& token) {
    return asio::async_initiate<Token, void(boost::system::error_code, std::size_t)>(
        [this](auto handler, auto into) {
          asio::mutable_buffer first;
          for (auto it = asio::buffer_sequence_begin(into); it != asio::buffer_sequence_end(into); ++it) {
            first = *it;
            if (first.size() > 0) break;
          }
          const ByteSpan span(static_cast<std::byte*>(first.data()), first.size());
          asio::co_spawn(executor_, read(stream_, span), Finish<decltype(handler)>{std::move(handler)});
        },
        token, buffers);
  }

  template <typename Buffers, typename Token>
  auto async_write_some(const Buffers& buffers, Token&& token) {
    return asio::async_initiate<Token, void(boost::system::error_code, std::size_t)>(
        [this](auto handler, auto from) {
          asio::const_buffer first;
          for (auto it = asio::buffer_sequence_begin(from); it != asio::buffer_sequence_end(from); ++it) {
            first = *it;
            if (first.size() > 0) break;
          }
          const ByteView view(static_cast<const std::byte*>(first.data()), first.size());
          asio::co_spawn(executor_, write(stream_, view), Finish<decltype(handler)>{std::move(handler)});
        },
        token, buffers);
  }

private:
  using Outcome = std::pair<boost::system::error_code, std::size_t>;

  template <typename Handler>
  struct Finish {
    Handler handler;
    void operator()(std::exception_ptr failure, Outcome outcome) {
      if (failure) outcome = Outcome(asio::error::operation_aborted, 0);
      std::move(handler)(outcome.first, outcome.second);
    }
  };

  static asio::awaitable<Outcome> read(std::shared_ptr<ByteStream> stream, ByteSpan into) {
    if (into.empty()) co_return Outcome({}, 0);
    Outcome outcome = co_await stream->read_some(into);
    co_return outcome;
  }
  static asio::awaitable<Outcome> write(std::shared_ptr<ByteStream> stream, ByteView from) {
    const boost::system::error_code ec = co_await stream->write(from);
    co_return Outcome(ec, ec ? 0 : from.size());
  }

  asio::any_io_executor executor_;
  std::shared_ptr<ByteStream> stream_;
};

}  // namespace dh::io
