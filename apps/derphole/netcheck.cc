#include <csignal>
#include <cstdio>

#include <boost/asio.hpp>

#include "commands.hh"
#include "io/clock.hh"
#include "io/netcheck_driver.hh"
#include "io/port_mapping_check.hh"
#include "netcheck_text.hh"

namespace dh::app {
namespace {

namespace asio = boost::asio;

using Outcome = std::expected<io::NetcheckResult, io::NetcheckError>;

Outcome check(const NetcheckOptions& options) {
  io::NetcheckOptions driver;
  driver.derp_servers = options.common.derp_servers;
  driver.derp_map = options.common.derp_map;
  driver.dial.proxy = io::ProxyConfig::from_environment();
  driver.wall_now = io::wall_now();
  driver.port_mapping = io::check_port_mapping;
  // Never destroyed: its resolver thread may sit in a dead DNS for half a minute, and nobody should wait for
  // that at the end.
  asio::io_context& context = *new asio::io_context;
  std::optional<Outcome> outcome;
  std::exception_ptr failure;
  asio::co_spawn(context, io::run_netcheck(std::move(driver)), [&](std::exception_ptr error, Outcome value) {
    failure = error;
    if (!error) outcome.emplace(std::move(value));
    context.stop();
  });
  context.run();
  if (failure) std::rethrow_exception(failure);
  return std::move(*outcome);
}

}  // namespace

Exit run_netcheck(const NetcheckOptions& options) {
  std::signal(SIGPIPE, SIG_IGN);
  const ReporterOptions reporting = options.common.reporter();
  const Outcome outcome = check(options);
  if (!outcome) {
    const bool usage = outcome.error().failure == io::NetcheckFailure::Usage;
    throw CommandError(usage ? Exit::Usage : Exit::Failure, outcome.error().message);
  }
  const std::string text = reporting.json ? netcheck_json(*outcome) + "\n"
                                          : netcheck_text(*outcome, reporting.level == Level::Verbose);
  if (std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0)
    throw CommandError(Exit::LocalFile, "cannot write the report to the output");
  const bool network = path::judge(outcome->report).kind != path::VerdictKind::NoNetwork;
  return network ? Exit::Ok : Exit::NetworkLost;
}

}  // namespace dh::app
