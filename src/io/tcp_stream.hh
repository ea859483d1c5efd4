#pragma once

#include "io/dial.hh"

namespace dh::io {

/// Plain TCP as a ByteStream.
class TcpStream final : public ByteStream {
public:
  explicit TcpStream(asio::ip::tcp::socket socket);

  asio::awaitable<std::pair<boost::system::error_code, std::size_t>> read_some(ByteSpan into) override;
  asio::awaitable<boost::system::error_code> write(ByteView bytes) override;
  void close() override;
  Endpoint local_endpoint() const override { return local_; }
  Endpoint remote_endpoint() const override { return remote_; }

  /// The socket, for a TLS layer that takes its place. This object is empty afterwards.
  asio::ip::tcp::socket release() { return std::move(socket_); }

private:
  asio::ip::tcp::socket socket_;
  Endpoint local_, remote_;
};

}  // namespace dh::io
