#include "io/resolve.hh"

#include <algorithm>
#include <memory>

#include "io/asio_address.hh"
#include "io/clock.hh"
#include "io/use_result.hh"

namespace dh::io {
namespace {

constexpr std::size_t kMaxAddresses = 16;  // more would only be tried after the dial's time is up

// Shared by the waiting coroutine and the resolver's handler, which may come long after the coroutine left.
struct Lookup {
  explicit Lookup(const asio::any_io_executor& executor) : resolver(executor), done(executor) {}
  asio::ip::tcp::resolver resolver;
  asio::steady_timer done;  // cancelled when the answer is there
  bool answered = false;
  error_code error;
  std::vector<IpAddress> addresses;
};

struct CancelOnExit {
  std::shared_ptr<Lookup> lookup;
  ~CancelOnExit() { lookup->resolver.cancel(); }
};

}  // namespace

asio::awaitable<std::expected<std::vector<IpAddress>, std::string>> resolve(std::string host,
                                                                            Instant deadline) {
  const auto executor = co_await asio::this_coro::executor;
  auto lookup = std::make_shared<Lookup>(executor);
  const CancelOnExit guard{lookup};
  lookup->done.expires_after(std::max(deadline - now(), Duration(0)));
  lookup->resolver.async_resolve(
      host, "", [lookup](const error_code& ec, const asio::ip::tcp::resolver::results_type& results) {
        lookup->answered = true;
        lookup->error = ec;
        for (const auto& entry : results) {
          const IpAddress address = from_asio(entry.endpoint().address());
          if (lookup->addresses.size() == kMaxAddresses) break;
          if (std::ranges::find(lookup->addresses, address) == lookup->addresses.end())
            lookup->addresses.push_back(address);
        }
        lookup->done.cancel();
      });
  if (!lookup->answered) co_await lookup->done.async_wait(use_result);

  if (!lookup->answered) co_return std::unexpected(std::string("DNS did not answer in time"));
  if (lookup->error == asio::error::host_not_found || lookup->error == asio::error::no_data)
    co_return std::unexpected(std::string("no such host"));
  if (lookup->error) co_return std::unexpected("DNS failed (" + lookup->error.message() + ")");
  if (lookup->addresses.empty()) co_return std::unexpected(std::string("the name has no address"));
  co_return std::move(lookup->addresses);
}

}  // namespace dh::io
