#include "io/port_mapping_check.hh"

#include <algorithm>

#include "io/clock.hh"
#include "io/port_map_client.hh"
#include "io/use_result.hh"

namespace dh::io {
namespace {

constexpr Duration kHearAll = 1200ms;
constexpr Duration kLook = 20ms;  // between two looks at a client that says nothing when it gives up

}  // namespace

asio::awaitable<std::optional<path::PortMappingReport>> check_port_mapping(std::uint16_t internal_port,
                                                                           Duration budget) {
  const auto executor = co_await asio::this_coro::executor;
  const Instant until = now() + budget - std::min(budget, PortMapClient::kStopLimit + 100ms);
  // Shared with its own last callback, which may come when nobody waits for it any more.
  const auto timer = std::make_shared<asio::steady_timer>(executor);
  PortMapClient client(executor, PortMapClient::Family::V4, internal_port, [](auto) {});
  client.start();
  if (!client.presence()) co_return std::nullopt;
  // Which protocols the router speaks is worth knowing, too: UPnP answers within a second.
  const Instant heard_all = std::min(until, now() + kHearAll);
  const auto complete = [&] {
    const path::PortMappingReport seen = client.report();
    return client.is_settled() && ((seen.pcp && seen.nat_pmp && seen.upnp) || now() >= heard_all);
  };
  while (!complete() && now() < until) {
    timer->expires_after(kLook);
    co_await timer->async_wait(use_result);
  }
  const path::PortMappingReport report = client.report();
  timer->expires_after(PortMapClient::kStopLimit);
  client.stop([timer] { timer->cancel(); });
  co_await timer->async_wait(use_result);
  co_return report;
}

}  // namespace dh::io
