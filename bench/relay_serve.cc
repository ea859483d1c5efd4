// Our relay on its own, for bench/relay.py: prints its endpoint, serves until stdin closes.
// Usage: bench_relay_serve [--tls] [PORT]

#include <cstdio>
#include <cstring>
#include <string>

#include <boost/asio.hpp>
#include <sys/resource.h>

#include "io/clock.hh"
#include "io/derp_server.hh"
#include "io/system_rng.hh"

int main(int argc, char** argv) {
  using namespace dh;
  crypto_init();
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  bool tls = false;
  std::uint16_t port = 0;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--tls") == 0)
      tls = true;
    else if (const auto given = parse_port(argv[i], true))
      port = *given;
  }
  io::SystemRng rng;
  io::DerpServerOptions options;
  options.listen = {{IpAddress::v4(127, 0, 0, 1), port}};
  options.key = KeyPair::generate(rng);
  options.limits.connections_per_address = 0;  // the whole load comes from one address
  if (tls) {
    io::SelfSignedOptions names;
    names.hosts = {"127.0.0.1"};
    options.tls = io::make_self_signed(names, io::wall_now());
  }
  boost::asio::io_context context(1);
  io::DerpServer server(context.get_executor(), options, rng);
  server.start();
  std::printf("%s://%s\n", tls ? "https" : "http", server.endpoints().front().to_string().c_str());
  std::fflush(stdout);

  boost::asio::posix::stream_descriptor input(context, ::dup(0));
  input.async_wait(boost::asio::posix::stream_descriptor::wait_read, [&](auto) {
    const auto& core = server.counters();
    std::fprintf(stderr, "packets in %llu out %llu, queue drops %llu, write timeouts %llu\n",
                 static_cast<unsigned long long>(core.packets_received),
                 static_cast<unsigned long long>(core.packets_sent),
                 static_cast<unsigned long long>(core.dropped_queue_head),
                 static_cast<unsigned long long>(core.write_timeouts));
    server.stop();
    context.stop();
  });
  context.run();
}
