#pragma once

// A relay for the client's tests: derp::ServerCore behind a plain acceptor, with the ways to misbehave that a
// real one has not.

#include <map>
#include <memory>
#include <string>

#include <boost/asio.hpp>

#include "derp/server_core.hh"
#include "io/asio_address.hh"
#include "io/clock.hh"
#include "io/use_result.hh"
#include "wire/derp_frame.hh"

namespace dh::io::testing {

using asio::ip::tcp;

enum class Manners : std::uint8_t {
  Relay,     // serves DERP after a 101
  Refuse,    // answers the request with `page`
  Reject,    // closes after the login, as a relay that does not admit the client
  Silent,    // serves the login, then neither reads nor writes
  Garbage,   // 101, then bytes that are no frames
  Mute,      // takes the connection and the request and never says a word
  Wordless,  // 101, then nothing
};

class TestRelay {
public:
  TestRelay(asio::io_context& context, Rng& rng)
      : context_(context), rng_(rng), key_(KeyPair::generate(rng)) {
    open(0);
  }

  std::uint16_t port() const { return port_; }
  const PublicKey& key() const { return key_.pub; }
  int accepted() const { return accepted_; }
  const std::vector<std::string>& requests() const { return requests_; }

  /// Drops every connection and stops listening; start_again() listens on the same port.
  void kill() {
    acceptor_.reset();
    for (auto& [id, socket] : sockets_) socket->close();
  }
  void start_again() { open(port_); }
  void announce_restart(Duration reconnect_in) {
    core_->announce_restart(reconnect_in, 1s, now());
    drain();
  }
  /// Tells every client about a problem of the relay; empty: it is well again. Only while nothing else is
  /// written.
  void announce_health(const std::string& problem) {
    auto frame = std::make_shared<Bytes>();
    Writer writer(*frame);
    wire::derp::HealthFrame{problem}.serialize(writer);
    for (auto& [id, socket] : sockets_)
      asio::async_write(*socket, asio::buffer(*frame), [frame](const error_code&, std::size_t) {});
  }

  Manners manners = Manners::Relay;
  std::string page;

private:
  using Socket = std::shared_ptr<tcp::socket>;

  void open(std::uint16_t port) {
    derp::ServerConfig config;
    core_ = std::make_unique<derp::ServerCore>(config, key_, now(), rng_);
    ++life_;
    acceptor_ =
        std::make_unique<tcp::acceptor>(context_, tcp::endpoint(asio::ip::address_v4::loopback(), port));
    port_ = acceptor_->local_endpoint().port();
    accept_next();
  }

  void accept_next() {
    acceptor_->async_accept([this](const error_code& ec, tcp::socket socket) {
      if (ec) return;
      ++accepted_;
      asio::co_spawn(context_, serve(std::make_shared<tcp::socket>(std::move(socket))), asio::detached);
      accept_next();
    });
  }

  asio::awaitable<void> serve(Socket socket) {
    const int life = life_;
    const derp::ConnectionId id = ++last_id_;
    sockets_[id] = socket;
    std::string head;
    auto [ec, size] =
        co_await asio::async_read_until(*socket, asio::dynamic_buffer(head), "\r\n\r\n", use_result);
    if (ec) co_return;
    requests_.push_back(head.substr(0, size));
    if (manners == Manners::Mute) co_return;  // the socket stays in sockets_: open
    std::string answer = manners == Manners::Refuse ? page : "HTTP/1.1 101 Switching Protocols\r\n\r\n";
    if (manners == Manners::Garbage)
      answer += "\x7fthis is no frame of a login at all, only bytes that came along";
    if (manners != Manners::Relay && manners != Manners::Silent) {
      // One segment: what a relay adds to its 101 comes with it.
      if (manners == Manners::Reject) answer += first_frame(id);
      co_await asio::async_write(*socket, asio::buffer(answer), use_result);
      if (manners == Manners::Wordless) co_return;
      if (manners == Manners::Reject) co_await socket->async_wait(tcp::socket::wait_read, use_result);
      sockets_.erase(id);
      co_return;
    }
    answer += first_frame(id);
    co_await asio::async_write(*socket, asio::buffer(answer), use_result);
    core_->on_written(id, now());
    const ByteView rest = as_bytes(std::string_view(head).substr(size));
    if (!rest.empty()) core_->on_bytes(id, rest, now());
    drain();
    Bytes buffer(64 << 10);
    bool logged_in = false;
    while (!(manners == Manners::Silent && logged_in)) {
      auto [error, count] = co_await socket->async_read_some(asio::buffer(buffer), use_result);
      if (life != life_) co_return;
      if (error) {
        core_->on_disconnect(id, now());
        break;
      }
      core_->on_bytes(id, ByteView(buffer).first(count), now());
      logged_in = true;
      drain();
    }
    if (manners == Manners::Silent) co_return;  // the socket stays in sockets_: open and mute
    drain();
    sockets_.erase(id);
  }

  // ServerKey, which the core queues at once.
  std::string first_frame(derp::ConnectionId id) {
    core_->on_connect(id, Endpoint{}, now());
    core_->poll_ready();
    Bytes batch;
    core_->take_output(id, batch, now());
    return std::string(as_text(batch));
  }

  void drain() {
    while (auto event = core_->poll_event()) {
      if (const auto* close = std::get_if<derp::CloseConnection>(&*event))
        if (auto at = sockets_.find(close->id); at != sockets_.end()) at->second->close();
    }
    while (auto id = core_->poll_ready()) {
      auto batch = std::make_shared<Bytes>();
      const auto at = sockets_.find(*id);
      if (!core_->take_output(*id, *batch, now()) || at == sockets_.end()) continue;
      asio::async_write(
          *at->second, asio::buffer(*batch),
          [this, batch, id = *id, life = life_, held = at->second](const error_code& ec, std::size_t) {
            if (ec || life != life_) return;
            core_->on_written(id, now());
            drain();
          });
    }
  }

  asio::io_context& context_;
  Rng& rng_;
  KeyPair key_;
  std::unique_ptr<derp::ServerCore> core_;
  std::unique_ptr<tcp::acceptor> acceptor_;
  std::map<derp::ConnectionId, Socket> sockets_;
  std::vector<std::string> requests_;
  derp::ConnectionId last_id_ = 0;
  std::uint16_t port_ = 0;
  int accepted_ = 0;
  int life_ = 0;
};

}  // namespace dh::io::testing
