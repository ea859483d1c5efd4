#pragma once

// A relay on a loopback port, and blocking clients to talk to it from outside its loop.

#include <atomic>
#include <future>
#include <string>
#include <thread>

#include <boost/asio.hpp>
#include <gtest/gtest.h>

#include "derp/client_core.hh"
#include "io/clock.hh"
#include "io/derp_server.hh"
#include "io/system_rng.hh"

namespace dh::io {

namespace asio = boost::asio;
using asio::ip::tcp;

inline DerpServerOptions loopback_options() {
  DerpServerOptions options;
  options.listen = {{IpAddress::v4(127, 0, 0, 1), 0}};
  SystemRng rng;
  options.key = KeyPair::generate(rng);
  return options;
}

inline DerpServerOptions tls_options() {
  DerpServerOptions options = loopback_options();
  SelfSignedOptions names;
  names.hosts = {"127.0.0.1"};
  options.tls = make_self_signed(names, wall_now());
  return options;
}

/// Runs a server in a thread of its own; on() executes there.
class RelayWorld {
public:
  explicit RelayWorld(DerpServerOptions options = loopback_options())
      : server_(std::make_unique<DerpServer>(context_.get_executor(), std::move(options), rng_)) {
    server_->start();
    thread_ = std::thread([this] { context_.run(); });
  }
  ~RelayWorld() {
    on([this] { server_->stop(); });
    guard_.reset();
    thread_.join();
  }
  template <class Function>
  std::invoke_result_t<Function> on(Function function) {
    auto task = std::make_shared<std::packaged_task<std::invoke_result_t<Function>()>>(std::move(function));
    auto result = task->get_future();
    asio::post(context_, [task] { (*task)(); });
    return result.get();
  }
  /// Waits, on the server's own turns, until `condition` holds there; false after five seconds.
  template <class Condition>
  bool eventually(Condition condition) {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (!on(condition)) {
      if (std::chrono::steady_clock::now() > give_up) return false;
      std::this_thread::yield();
    }
    return true;
  }
  DerpServer& server() { return *server_; }
  asio::io_context& context() { return context_; }
  Endpoint endpoint() const { return server_->endpoints().front(); }
  ShellCounters shell() {
    return on([this] { return server_->shell_counters(); });
  }
  derp::ServerCounters core() {
    return on([this] { return server_->counters(); });
  }

private:
  SystemRng rng_;
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> guard_{context_.get_executor()};
  std::unique_ptr<DerpServer> server_;
  std::thread thread_;
};

/// A blocking TCP connection with a 5 s receive timeout, so a missing answer fails instead of hanging.
class RawClient {
public:
  explicit RawClient(const Endpoint& to) : socket_(context_) {
    socket_.connect({asio::ip::make_address(to.address.to_string()), to.port});
    const timeval patience{.tv_sec = 5, .tv_usec = 0};
    ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    socket_.set_option(tcp::no_delay(true));
  }
  void send(std::string_view text) { asio::write(socket_, asio::buffer(text)); }
  void send(ByteView bytes) { asio::write(socket_, asio::buffer(bytes.data(), bytes.size())); }
  /// Up to and with `end`; what came until the stream ended otherwise.
  std::string read_until(std::string_view end) {
    while (pending_.find(end) == std::string::npos && fill()) {
    }
    const auto at = pending_.find(end);
    const std::string text = pending_.substr(0, at == std::string::npos ? at : at + end.size());
    pending_.erase(0, text.size());
    return text;
  }
  std::string read_size(std::size_t size) {
    while (pending_.size() < size && fill()) {
    }
    const std::string text = pending_.substr(0, size);
    pending_.erase(0, text.size());
    return text;
  }
  std::string read_to_end() {
    while (fill()) {
    }
    return std::exchange(pending_, {});
  }
  bool fill() {
    char buffer[4096];
    const ssize_t size = ::recv(socket_.native_handle(), buffer, sizeof buffer, 0);
    if (size <= 0) return false;
    pending_.append(buffer, static_cast<std::size_t>(size));
    return true;
  }
  /// Whatever has arrived, at least one byte; empty at the end of the stream.
  std::string read_some() {
    if (pending_.empty()) fill();
    return std::exchange(pending_, {});
  }
  tcp::socket& socket() { return socket_; }

private:
  asio::io_context context_;
  tcp::socket socket_;
  std::string pending_;
};

inline constexpr std::string_view kUpgradeRequest =
    "GET /derp HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n";
inline constexpr std::string_view kFastStartRequest =
    "GET /derp HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: DERP\r\nDerp-Fast-Start: 1\r\n\r\n";

/// A DERP login over functions that move bytes, so any transport can be under it.
template <class Transport>
class DerpPeer {
public:
  DerpPeer(Transport& transport, std::optional<PublicKey> server_key = std::nullopt)
      : transport_(transport), key_(KeyPair::generate(rng_)), core_(config(server_key), now(), rng_) {}

  const PublicKey& key() const { return key_.pub; }
  derp::ClientCore& core() { return core_; }
  /// What the core wants written now.
  Bytes take_output() {
    Bytes out = to_bytes(core_.output());
    core_.consume_output(out.size());
    return out;
  }
  void pump_out() {
    const Bytes out = take_output();
    if (!out.empty()) transport_.send(ByteView(out));
  }
  /// The next event of type E; others on the way are dropped. nullopt when the stream ended.
  template <class E>
  std::optional<E> wait() {
    while (true) {
      while (auto event = core_.poll_event()) {
        if (auto* packet = std::get_if<derp::PacketReceived>(&*event)) payload = to_bytes(packet->bytes);
        if (auto* wanted = std::get_if<E>(&*event)) return *wanted;
      }
      pump_out();
      const std::string more = transport_.read_some();
      if (more.empty()) return std::nullopt;
      core_.on_bytes(as_bytes(more), now());
    }
  }
  bool login() { return wait<derp::LoggedIn>().has_value(); }
  bool send(const PublicKey& to, ByteView packet) {
    const bool queued = core_.send_packet(to, packet, now()) == derp::SendResult::Queued;
    pump_out();
    return queued;
  }
  Bytes payload;  // of the last PacketReceived

private:
  derp::ClientConfig config(std::optional<PublicKey> server_key) {
    derp::ClientConfig config;
    config.key = key_;
    config.server_key = server_key;
    return config;
  }
  SystemRng rng_;
  Transport& transport_;
  KeyPair key_;
  derp::ClientCore core_;
};

/// DERP over plain TCP through the upgrade with a 101.
class PlainTransport : public RawClient {
public:
  explicit PlainTransport(const Endpoint& to, std::string_view request = kUpgradeRequest) : RawClient(to) {
    RawClient::send(request);
    if (request == kUpgradeRequest) head = read_until("\r\n\r\n");
  }
  std::string head;
};

}  // namespace dh::io
