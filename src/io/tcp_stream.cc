#include "io/tcp_stream.hh"

#include "io/asio_address.hh"
#include "io/use_result.hh"

namespace dh::io {

TcpStream::TcpStream(asio::ip::tcp::socket socket) : socket_(std::move(socket)) {
  error_code ec;
  local_ = endpoint_from_asio(socket_.local_endpoint(ec));
  remote_ = endpoint_from_asio(socket_.remote_endpoint(ec));
}

asio::awaitable<std::pair<error_code, std::size_t>> TcpStream::read_some(ByteSpan into) {
  auto [ec, size] = co_await socket_.async_read_some(asio::buffer(into.data(), into.size()), use_result);
  co_return std::pair(ec, size);
}

asio::awaitable<error_code> TcpStream::write(ByteView bytes) {
  auto [ec, size] = co_await asio::async_write(socket_, asio::buffer(bytes.data(), bytes.size()), use_result);
  co_return ec;
}

void TcpStream::close() {
  error_code ignored;
  socket_.close(ignored);
}

}  // namespace dh::io
