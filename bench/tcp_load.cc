// TCP peers for measuring and proving what carries connections.
//   bench_tcp_load serve ADDRESS PORT
//       sends back what comes, ends when the other side does; prints "ready"
//   bench_tcp_load ask ADDRESS PORT CONNECTIONS SECONDS BYTES
//       each connection sends BYTES, waits until they are back, and again: requests a second, latencies
//   bench_tcp_load load ADDRESS PORT STANDING RATE SECONDS SEED
//       STANDING connections that live all the time and say something every second, and RATE new ones a
//       second of mixed sizes that send, finish, and compare the digest of what comes back
// The answers are JSON on stdout. 0: everything was whole.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <boost/asio.hpp>
#include <fmt/format.h>
#include <xxhash.h>

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto use_result = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kBlock = 64 << 10;
constexpr auto kSettle = 30s;  // after the last connection began, for all to end

double micros(Clock::duration d) {
  return std::chrono::duration<double, std::micro>(d).count();
}

double percentile(std::vector<double>& values, double share) {
  if (values.empty()) return 0;
  const auto at = static_cast<std::ptrdiff_t>(static_cast<double>(values.size() - 1) * share);
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<std::size_t>(at)];
}

void report_crash(std::exception_ptr error) {
  if (error) std::rethrow_exception(error);
}

// ---- serve ----

asio::awaitable<void> echo(tcp::socket socket) {
  std::vector<char> block(kBlock);
  for (;;) {
    const auto [error, size] = co_await socket.async_read_some(asio::buffer(block), use_result);
    if (error) break;
    const auto [failed, sent] =
        co_await asio::async_write(socket, asio::buffer(block.data(), size), use_result);
    if (failed) co_return;
  }
  boost::system::error_code ignored;
  socket.shutdown(tcp::socket::shutdown_send, ignored);
}

asio::awaitable<void> serve(tcp::acceptor acceptor) {
  for (;;) {
    auto [error, socket] = co_await acceptor.async_accept(use_result);
    if (error) {
      asio::steady_timer pause(acceptor.get_executor(), 10ms);
      co_await pause.async_wait(use_result);
      continue;
    }
    boost::system::error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    asio::co_spawn(acceptor.get_executor(), echo(std::move(socket)), report_crash);
  }
}

// ---- ask ----

struct Asked {
  std::vector<double> latencies;  // us
  std::size_t failed = 0;
};

asio::awaitable<void> ask(asio::io_context& context, tcp::endpoint to, std::size_t bytes,
                          Clock::time_point until, Asked& out) {
  tcp::socket socket(context);
  std::vector<char> question(bytes, 'q'), answer(bytes);
  const auto [error] = co_await socket.async_connect(to, use_result);
  boost::system::error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  bool good = !error;
  // The first one sets the connection up, so it does not count.
  for (bool counts = false; good && Clock::now() < until; counts = true) {
    const auto begun = Clock::now();
    const auto [unsent, sent] = co_await asio::async_write(socket, asio::buffer(question), use_result);
    const auto [unread, got] = co_await asio::async_read(socket, asio::buffer(answer), use_result);
    good = !unsent && !unread && answer == question;
    if (good && counts) out.latencies.push_back(micros(Clock::now() - begun));
  }
  if (!good) ++out.failed;
}

int run_ask(asio::io_context& context, const tcp::endpoint& to, std::size_t connections, double seconds,
            std::size_t bytes) {
  Asked asked;
  const auto length = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  for (std::size_t i = 0; i < connections; ++i)
    asio::co_spawn(context, ask(context, to, bytes, Clock::now() + length, asked), report_crash);
  context.run();
  const auto count = asked.latencies.size();
  fmt::print("{{\"requests\":{},\"per_second\":{:.1f},\"p50_us\":{:.1f},\"p99_us\":{:.1f},\"failed\":{}}}\n",
             count, static_cast<double>(count) / seconds, percentile(asked.latencies, 0.5),
             percentile(asked.latencies, 0.99), asked.failed);
  return asked.failed == 0 && count > 0 ? 0 : 1;
}

// ---- load ----

struct Load {
  std::size_t begun = 0, whole = 0, refused = 0, cut_off = 0, changed = 0, standing_lost = 0, standing_up = 0;
  std::uint64_t bytes = 0;
  std::vector<double> first_byte_us;  // from connect() to the first byte back from the far end
};

// What every connection sends: any part of one block of noise.
struct Noise {
  explicit Noise(std::uint64_t seed) : bytes(1 << 20) {
    std::mt19937_64 random(seed);
    for (std::size_t i = 0; i < bytes.size(); i += 8) {
      const std::uint64_t value = random();
      std::memcpy(bytes.data() + i, &value, 8);
    }
  }
  std::vector<char> bytes;
};

// Most are small, some are not: 60 % to 2 KiB, 30 % to 32 KiB, 9 % to 256 KiB, 1 % to 1 MiB.
std::size_t mixed_size(std::mt19937_64& random) {
  const std::uint64_t kind = random() % 100;
  const std::size_t most = kind < 60 ? 2 << 10 : kind < 90 ? 32 << 10 : kind < 99 ? 256 << 10 : 1 << 20;
  return 1 + random() % most;
}

struct Sending {
  explicit Sending(tcp::socket socket_in) : socket(std::move(socket_in)) {}
  tcp::socket socket;
};

asio::awaitable<void> send_all(std::shared_ptr<Sending> shared, asio::const_buffer data) {
  const auto [error, sent] = co_await asio::async_write(shared->socket, data, use_result);
  boost::system::error_code ignored;
  if (!error) shared->socket.shutdown(tcp::socket::shutdown_send, ignored);
}

asio::awaitable<void> one(asio::io_context& context, tcp::endpoint to, const Noise& noise, std::size_t offset,
                          std::size_t size, Load& out) {
  tcp::socket socket(context);
  const auto begun = Clock::now();
  const auto [error] = co_await socket.async_connect(to, use_result);
  if (error) {
    ++out.refused;
    co_return;
  }
  const auto shared = std::make_shared<Sending>(std::move(socket));
  const asio::const_buffer data(noise.bytes.data() + offset, size);
  asio::co_spawn(context, send_all(shared, data), report_crash);
  XXH3_state_t* state = XXH3_createState();
  XXH3_64bits_reset(state);
  std::vector<char> block(std::min(size + 1, kBlock));
  std::size_t total = 0;
  boost::system::error_code end;
  for (;;) {
    const auto [failed, got] = co_await shared->socket.async_read_some(asio::buffer(block), use_result);
    end = failed;
    if (failed) break;
    if (total == 0) out.first_byte_us.push_back(micros(Clock::now() - begun));
    total += got;
    XXH3_64bits_update(state, block.data(), got);
  }
  const bool same = XXH3_64bits_digest(state) == XXH3_64bits(data.data(), size);
  XXH3_freeState(state);
  out.bytes += total;
  if (end != asio::error::eof) {
    ++out.cut_off;
  } else if (total != size || !same) {
    ++out.changed;
  } else {
    ++out.whole;
  }
}

asio::awaitable<void> stand(asio::io_context& context, tcp::endpoint to, Clock::time_point until,
                            std::chrono::milliseconds delay, Load& out) {
  asio::steady_timer timer(context, delay);
  co_await timer.async_wait(use_result);
  tcp::socket socket(context);
  const auto [error] = co_await socket.async_connect(to, use_result);
  bool good = !error;
  std::uint64_t number = 0;
  while (good) {
    ++number;
    std::uint64_t answer = 0;
    const auto [unsent, sent] =
        co_await asio::async_write(socket, asio::buffer(&number, sizeof number), use_result);
    const auto [unread, got] =
        co_await asio::async_read(socket, asio::buffer(&answer, sizeof answer), use_result);
    good = !unsent && !unread && answer == number;
    if (good && number == 1) ++out.standing_up;
    if (Clock::now() >= until) break;
    timer.expires_after(1s);
    co_await timer.async_wait(use_result);
  }
  if (!good) ++out.standing_lost;
}

asio::awaitable<void> begin_all(asio::io_context& context, tcp::endpoint to, double rate, double seconds,
                                std::uint64_t seed, const Noise& noise, Load& out) {
  std::mt19937_64 random(seed);
  asio::steady_timer timer(context);
  const auto started = Clock::now();
  const auto count = static_cast<std::size_t>(rate * seconds);
  for (std::size_t i = 0; i < count; ++i) {
    timer.expires_at(started + std::chrono::duration_cast<Clock::duration>(
                                   std::chrono::duration<double>(static_cast<double>(i) / rate)));
    co_await timer.async_wait(use_result);
    const std::size_t size = mixed_size(random), offset = random() % (noise.bytes.size() - size + 1);
    ++out.begun;
    asio::co_spawn(context, one(context, to, noise, offset, size, out), report_crash);
  }
}

int run_load(asio::io_context& context, const tcp::endpoint& to, std::size_t standing, double rate,
             double seconds, std::uint64_t seed) {
  const Noise noise(seed);
  Load load;
  const auto until =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  for (std::size_t i = 0; i < standing; ++i)  // not all in one instant
    asio::co_spawn(context, stand(context, to, until, std::chrono::milliseconds(i), load), report_crash);
  asio::co_spawn(context, begin_all(context, to, rate, seconds, seed, noise, load), report_crash);
  context.run_for(
      std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds) + kSettle));
  const std::size_t unfinished = load.begun - load.whole - load.refused - load.cut_off - load.changed;
  fmt::print(
      "{{\"begun\":{},\"whole\":{},\"refused\":{},\"cut_off\":{},\"changed\":{},\"unfinished\":{},"
      "\"standing\":{},\"standing_lost\":{},\"bytes\":{},\"p50_connect_ms\":{:.1f},\"p99_connect_ms\":{:.1f}}"
      "}"
      "\n",
      load.begun, load.whole, load.refused, load.cut_off, load.changed, unfinished, load.standing_up,
      load.standing_lost, load.bytes, percentile(load.first_byte_us, 0.5) / 1000,
      percentile(load.first_byte_us, 0.99) / 1000);
  return load.whole == load.begun && load.standing_up == standing && load.standing_lost == 0 ? 0 : 1;
}

int usage() {
  std::fprintf(stderr,
               "usage: tcp_load serve ADDRESS PORT | ask ADDRESS PORT CONNECTIONS SECONDS BYTES | load "
               "ADDRESS PORT STANDING RATE SECONDS SEED\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 4) return usage();
  const std::string what = argv[1];
  asio::io_context context(1);
  const tcp::endpoint at(asio::ip::make_address(argv[2]), static_cast<std::uint16_t>(std::atoi(argv[3])));
  const auto number = [&](int i) { return std::strtod(argv[i], nullptr); };
  if (what == "serve" && argc == 4) {
    tcp::acceptor acceptor(context);
    acceptor.open(at.protocol());
    acceptor.set_option(tcp::acceptor::reuse_address(true));
    acceptor.bind(at);
    acceptor.listen(4096);
    fmt::print("ready\n");
    std::fflush(stdout);
    asio::co_spawn(context, serve(std::move(acceptor)), report_crash);
    context.run();
    return 0;
  }
  if (what == "ask" && argc == 7)
    return run_ask(context, at, static_cast<std::size_t>(number(4)), number(5),
                   static_cast<std::size_t>(number(6)));
  if (what == "load" && argc == 8)
    return run_load(context, at, static_cast<std::size_t>(number(4)), number(5), number(6),
                    static_cast<std::uint64_t>(number(7)));
  return usage();
} catch (const std::exception& error) {
  std::fprintf(stderr, "tcp_load: %s\n", error.what());
  return 1;
}
