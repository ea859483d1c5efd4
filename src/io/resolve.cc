#include "io/resolve.hh"

#include <algorithm>
#include <memory>
#include <mutex>
#include <thread>

#include <netdb.h>
#include <system_error>

#include "io/clock.hh"
#include "io/listen_socket.hh"
#include "io/use_result.hh"

namespace dh::io {
namespace {

constexpr std::size_t kMaxAddresses = 16;  // more would only be tried after the dial's time is up

// Shared by the waiting coroutine and the look-up, whose answer may come from another thread long after the
// coroutine left, and after its executor has gone.
struct Waiting {
  struct Here {  // what belongs to the executor
    asio::any_io_executor executor;
    asio::steady_timer done;  // cancelled when the answer is there
  };
  std::mutex mutex;          // held to use the executor from elsewhere, and to leave
  std::optional<Here> here;  // until the coroutine leaves
  std::optional<LookupAnswer> answer;
};

struct LeaveOnExit {
  std::shared_ptr<Waiting> waiting;
  ~LeaveOnExit() {
    const std::lock_guard lock(waiting->mutex);
    waiting->here.reset();
  }
};

LookupDone hand_over(const std::shared_ptr<Waiting>& waiting) {
  return [waiting](LookupAnswer answer) {
    const std::lock_guard lock(waiting->mutex);
    if (!waiting->here) return;
    asio::post(waiting->here->executor, [waiting, answer = std::move(answer)]() mutable {
      if (!waiting->here || waiting->answer) return;
      waiting->answer = std::move(answer);
      waiting->here->done.cancel();
    });
  };
}

error_code lookup_error(int code) {
  switch (code) {
    case 0:
      return {};
    case EAI_NONAME:
#ifdef EAI_NODATA
    case EAI_NODATA:
#endif
      return asio::error::host_not_found;
    case EAI_AGAIN:
      return asio::error::host_not_found_try_again;
    case EAI_MEMORY:
      return asio::error::no_memory;
    default:
      return asio::error::no_recovery;
  }
}

LookupAnswer ask_system(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  LookupAnswer answer;
  answer.error = lookup_error(::getaddrinfo(host.c_str(), nullptr, &hints, &found));
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    sockaddr_storage storage{};
    if (at->ai_addrlen > sizeof storage) continue;
    std::memcpy(&storage, at->ai_addr, at->ai_addrlen);
    answer.addresses.push_back(SocketAddress::to_endpoint(storage).address);
  }
  if (found != nullptr) ::freeaddrinfo(found);
  return answer;
}

}  // namespace

void system_lookup(std::string host, LookupDone done) {
  // RFC 6761 section 6.3: always this machine, whatever a hosts file (or its absence) and DNS say.
  if (host == "localhost" || host.ends_with(".localhost"))
    return done({{}, {IpAddress::v4(127, 0, 0, 1), *IpAddress::parse("::1")}});
  try {
    std::thread([host = std::move(host), done] { done(ask_system(host)); }).detach();
  } catch (const std::system_error&) {  // no more threads
    done({asio::error::no_memory, {}});
  }
}

asio::awaitable<std::expected<std::vector<IpAddress>, std::string>> resolve(std::string host, Lookup lookup,
                                                                            Instant deadline) {
  const auto executor = co_await asio::this_coro::executor;
  const auto waiting = std::make_shared<Waiting>();
  waiting->here.emplace(Waiting::Here{executor, asio::steady_timer(executor)});
  const LeaveOnExit guard{waiting};
  asio::steady_timer& timer = waiting->here->done;
  timer.expires_after(std::max(deadline - now(), Duration(0)));
  LookupDone done = hand_over(waiting);
  if (lookup) {
    lookup(std::move(host), std::move(done));
  } else {
    system_lookup(std::move(host), std::move(done));
  }
  co_await timer.async_wait(use_result);  // the answer is posted, so it cannot have come before this

  if (!waiting->answer) co_return std::unexpected(std::string("DNS did not answer in time"));
  const error_code error = waiting->answer->error;
  if (error == asio::error::host_not_found || error == asio::error::no_data)
    co_return std::unexpected(std::string("no such host"));
  if (error) co_return std::unexpected("DNS failed (" + error.message() + ")");
  std::vector<IpAddress> addresses;
  for (const IpAddress& address : waiting->answer->addresses) {
    if (addresses.size() == kMaxAddresses) break;
    if (std::ranges::find(addresses, address) == addresses.end()) addresses.push_back(address);
  }
  if (addresses.empty()) co_return std::unexpected(std::string("the name has no address"));
  co_return addresses;
}

asio::awaitable<std::expected<std::vector<IpAddress>, std::string>> resolve(std::string host,
                                                                            Instant deadline) {
  return resolve(std::move(host), Lookup(), deadline);
}

}  // namespace dh::io
