// Maps one UDP port at the default gateway and tells what happens, a line each; a line on stdin deletes it.
// Not a benchmark: tests/e2e/portmap_lab.py drives it against real gateways.
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <boost/asio.hpp>

#include "io/port_map_client.hh"

using namespace dh;
namespace asio = boost::asio;

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s PORT [6]\n", argv[0]);
    return 2;
  }
  const auto port = parse_port(argv[1]);
  if (!port) return 2;
  const bool v6 = argc > 2 && std::string_view(argv[2]) == "6";
  asio::io_context io;
  io::PortMapClient* running = nullptr;
  io::PortMapClient client(
      io.get_executor(), v6 ? io::PortMapClient::Family::V6 : io::PortMapClient::Family::V4, *port,
      [&](std::optional<Endpoint> external) {
        const auto report = running->report();
        const auto mapped = running->mapping();
        const std::string by = mapped ? std::string(to_string(mapped->protocol)) : "nobody";
        std::fprintf(stderr, "mapping %s by %s; seen:%s%s%s\n",
                     external ? external->to_string().c_str() : "none", by.c_str(), report.pcp ? " PCP" : "",
                     report.nat_pmp ? " NAT-PMP" : "", report.upnp ? " UPnP" : "");
      });
  running = &client;
  client.start();
  asio::posix::stream_descriptor input(io, 0);
  input.async_wait(asio::posix::stream_descriptor::wait_read, [&](boost::system::error_code) {
    client.stop([] { std::fprintf(stderr, "stopped\n"); });
  });
  io.run();
  return 0;
}
