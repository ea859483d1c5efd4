// The only translation unit with Beast's WebSocket in it: it is the heaviest header we use.

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket.hpp>

#include "base/printable.hh"
#include "io/http_exchange.hh"
#include "io/http_upgrade.hh"
#include "io/stream_bridge.hh"
#include "io/user_agent.hh"

namespace dh::io {

namespace beast = boost::beast;
namespace websocket = boost::beast::websocket;

// Beast ends a closing handshake through these. Our close is the layer's below: at once.
inline void beast_close_socket(StreamBridge& bridge) {
  bridge.stream().close();
}
inline void teardown(beast::role_type, StreamBridge& bridge, error_code& ec) {
  bridge.stream().close();
  ec = {};
}
template <typename Handler>
void async_teardown(beast::role_type, StreamBridge& bridge, Handler&& handler) {
  bridge.stream().close();
  asio::post(bridge.get_executor(),
             [held = std::forward<Handler>(handler)]() mutable { std::move(held)(error_code()); });
}

namespace {

constexpr std::size_t kMaxMessageOut = 32 << 10;  // Go relays close above it
constexpr std::size_t kMaxMessageIn = 2 << 20;    // twice the largest frame a relay may send
constexpr std::string_view kSubprotocol = "derp";

class WebSocketStream final : public ByteStream {
public:
  WebSocketStream(const asio::any_io_executor& executor, std::shared_ptr<ByteStream> lower)
      : lower_(lower), socket_(StreamBridge(executor, std::move(lower))) {
    socket_.binary(true);
    socket_.auto_fragment(false);
    socket_.read_message_max(kMaxMessageIn);
    websocket::permessage_deflate off;
    off.client_enable = false;
    socket_.set_option(off);
    socket_.set_option(websocket::stream_base::decorator([](websocket::request_type& request) {
      request.set(beast::http::field::user_agent, kAgent);
      request.set(beast::http::field::sec_websocket_protocol, kSubprotocol);
    }));
  }

  asio::awaitable<error_code> handshake(std::string host, websocket::response_type& response) {
    auto [ec] = co_await socket_.async_handshake(response, host, "/derp", use_result);
    co_return ec;
  }

  asio::awaitable<std::pair<error_code, std::size_t>> read_some(ByteSpan into) override {
    while (true) {
      auto [ec, size] = co_await socket_.async_read_some(asio::buffer(into.data(), into.size()), use_result);
      if (ec == websocket::error::closed) ec = asio::error::eof;
      if (!ec && !socket_.got_binary()) ec = asio::error::operation_not_supported;
      if (ec || size > 0) co_return std::pair(ec, size);  // an empty message is no end
    }
  }

  asio::awaitable<error_code> write(ByteView bytes) override {
    while (!bytes.empty()) {
      const ByteView message = bytes.first(std::min(bytes.size(), kMaxMessageOut));
      auto [ec, size] =
          co_await socket_.async_write(asio::buffer(message.data(), message.size()), use_result);
      if (ec) co_return ec;
      bytes = bytes.subspan(message.size());
    }
    co_return error_code();
  }

  void close() override { lower_->close(); }
  Endpoint local_endpoint() const override { return lower_->local_endpoint(); }
  Endpoint remote_endpoint() const override { return lower_->remote_endpoint(); }

private:
  std::shared_ptr<ByteStream> lower_;  // shared with the bridge inside socket_
  websocket::stream<StreamBridge, false> socket_;
};

std::string refusal(const std::string& who, const websocket::response_type& response, const error_code& ec) {
  if (ec == websocket::error::upgrade_declined && response.result_int() != 101) {
    std::string text = who + " answered " + std::to_string(response.result_int()) + " " +
                       printable(std::string(response.reason()));
    const std::string excerpt = body_excerpt(response.body());
    if (!excerpt.empty()) text += " (" + excerpt + ")";
    return text + " to the WebSocket request";
  }
  return who + " did not complete the WebSocket handshake: " + ec.message();
}

}  // namespace

asio::awaitable<std::expected<std::unique_ptr<ByteStream>, UpgradeError>> upgrade_to_websocket(
    std::unique_ptr<ByteStream> stream, std::string host) {
  const auto executor = co_await asio::this_coro::executor;
  auto socket = std::make_unique<WebSocketStream>(executor, std::shared_ptr<ByteStream>(std::move(stream)));
  websocket::response_type response;
  const error_code ec = co_await socket->handshake(host, response);
  UpgradeError error;
  if (ec) {
    error.message = refusal(printable(host), response, ec);
    error.not_derp = true;
    co_return std::unexpected(std::move(error));
  }
  if (response[beast::http::field::sec_websocket_protocol] != kSubprotocol) {
    error.message = printable(host) + " speaks WebSocket, but not DERP over it: no relay";
    error.not_derp = true;
    co_return std::unexpected(std::move(error));
  }
  std::unique_ptr<ByteStream> result = std::move(socket);
  co_return std::move(result);
}

}  // namespace dh::io
