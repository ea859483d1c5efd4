#include "io/upnp.hh"

#include <atomic>
#include <miniupnpc/miniupnpc.h>
#include <miniupnpc/upnpcommands.h>
#include <miniupnpc/upnperrors.h>
#include <mutex>
#include <thread>

#include <boost/asio.hpp>
#include <sys/eventfd.h>

#include "base/web_url.hh"
#include "io/clock.hh"
#include "io/listen_socket.hh"
#include "io/system_rng.hh"
#include "path/port_mapper.hh"
#include "wire/ssdp.hh"

namespace dh::io {
namespace {

namespace asio = boost::asio;
namespace ssdp = dh::wire::ssdp;

constexpr char kDescription[] = "derphole";  // everybody on the network can read it: no user, no host
constexpr int kMaxTries = 4;                 // external ports, and once more without a lease
constexpr int kInvalidArgs = 402, kConflict = 718, kSamePorts = 724, kOnlyPermanent = 725;

// One blocking conversation in a thread. It and the thread share this and nothing else, so either may be
// gone first: a process that ends does not wait for a slow router.
struct Job {
  std::mutex mutex;
  std::optional<UpnpMapping> mapping;  // under mutex
  Fd done{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};

  void finish(std::optional<UpnpMapping> result) {
    {
      const std::lock_guard lock(mutex);
      mapping = result;
    }
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(done.get(), &one, sizeof one);
  }
};

struct MapRequest {
  std::string location;
  std::string local;
  IpAddress gateway;
  std::uint16_t internal_port = 0, external_port = 0;
  Duration lease{};
};

bool is_at(const char* url, const IpAddress& gateway) {
  if (url == nullptr) return false;
  const auto parsed = WebUrl::parse(url);
  return parsed && IpAddress::parse(parsed->host) == gateway;
}

// The services of a device description, freed at the end.
struct Service {
  explicit Service(const MapRequest& request) {
    char lan[64] = {};
    found = UPNP_GetIGDFromUrl(request.location.c_str(), &urls, &data, lan, sizeof lan) == 1 &&
            is_at(urls.controlURL, request.gateway);
  }
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;
  ~Service() { FreeUPNPUrls(&urls); }

  UPNPUrls urls{};
  IGDdatas data{};
  bool found = false;
};

std::optional<Endpoint> outer_address(const Service& service, std::uint16_t port) {
  char text[40] = {};
  if (UPNP_GetExternalIPAddress(service.urls.controlURL, service.data.first.servicetype, text) != 0)
    return std::nullopt;
  const auto address = IpAddress::parse(text);
  if (!address || !path::is_usable_external({*address, port}, true)) return std::nullopt;
  return Endpoint{*address, port};
}

std::optional<UpnpMapping> map_port(MapRequest request) {
  const Service service(request);
  if (!service.found || !outer_address(service, request.external_port)) return std::nullopt;
  SystemRng rng;
  for (int i = 0; i < kMaxTries; ++i) {
    const auto lease = std::chrono::duration_cast<std::chrono::seconds>(request.lease).count();
    const int result = UPNP_AddPortMapping(
        service.urls.controlURL, service.data.first.servicetype,
        std::to_string(request.external_port).c_str(), std::to_string(request.internal_port).c_str(),
        request.local.c_str(), kDescription, "UDP", nullptr, std::to_string(lease).c_str());
    if (result == 0) {
      const auto external = outer_address(service, request.external_port);
      if (!external) return std::nullopt;
      return UpnpMapping{*external, request.lease};
    }
    if ((result == kOnlyPermanent || result == kInvalidArgs) && lease != 0) {
      request.lease = Duration::zero();
    } else if (result == kSamePorts && request.external_port != request.internal_port) {
      request.external_port = request.internal_port;
    } else if (result == kConflict) {  // somebody else's
      request.external_port = static_cast<std::uint16_t>(1024 + rng.below(65536 - 1024));
    } else {
      return std::nullopt;
    }
  }
  return std::nullopt;
}

void unmap_port(const MapRequest& request) {
  const Service service(request);
  if (!service.found) return;
  UPNP_DeletePortMapping(service.urls.controlURL, service.data.first.servicetype,
                         std::to_string(request.external_port).c_str(), "UDP", nullptr);
}

}  // namespace

struct UpnpGateway::Impl : std::enable_shared_from_this<Impl> {
  Impl(const asio::any_io_executor& executor_in, const Gateway& gateway_in, std::function<void()> seen)
      : executor(executor_in),
        gateway(gateway_in),
        on_seen(std::move(seen)),
        descriptor(executor),
        search_end(executor) {}

  // Searching.

  void search() {
    close_search();
    location.clear();
    Fd fd;
    try {
      fd = bind_udp({gateway.local, 0});
    } catch (const std::runtime_error&) {
      return;
    }
    const int hops = 2;
    ::setsockopt(fd.get(), IPPROTO_IP, IP_MULTICAST_TTL, &hops, sizeof hops);
    in_addr own{};
    std::memcpy(&own, gateway.local.v4_bytes().data(), sizeof own);
    ::setsockopt(fd.get(), IPPROTO_IP, IP_MULTICAST_IF, &own, sizeof own);
    // To the gateway itself first: a firewall of ours then expects its answer.
    for (const IpAddress& to : {gateway.address, IpAddress::v4(239, 255, 255, 250)}) {
      const SocketAddress address = SocketAddress::from({to, ssdp::kPort});
      for (const std::string_view target : {ssdp::kGatewayType, ssdp::kEverything}) {
        const std::string text = ssdp::make_search(target);
        ::sendto(fd.get(), text.data(), text.size(), 0, address.data(), address.size);
      }
    }
    descriptor.assign(fd.release());
    answers = 0;
    searching = true;
    search_end.expires_after(kSearchFor);
    search_end.async_wait([self = shared_from_this()](boost::system::error_code error) {
      if (!error) self->search_failed();
    });
    wait();
  }

  void wait() {
    descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                          [self = shared_from_this()](boost::system::error_code error) {
                            if (error || !self->searching) return;
                            self->receive();
                            if (self->searching) self->wait();
                          });
  }

  void receive() {
    std::array<std::byte, ssdp::kMaxAnswer + 1> buffer;
    while (searching) {
      SocketAddress from;
      from.size = sizeof from.storage;
      const ssize_t size =
          ::recvfrom(descriptor.native_handle(), buffer.data(), buffer.size(), 0, from.data(), &from.size);
      if (size < 0) return;
      if (SocketAddress::to_endpoint(from.storage).address != gateway.address) continue;
      if (++answers > kMaxAnswers) return search_failed();
      const auto answer = ssdp::parse_answer(ByteView(buffer).first(static_cast<std::size_t>(size)));
      if (!answer || !answer->is_gateway() || !is_at(answer->location.c_str(), gateway.address)) continue;
      location = answer->location;
      close_search();
      on_seen();
      start_mapping();
    }
  }

  void search_failed() {
    close_search();
    if (auto callback = std::exchange(on_mapped, {})) callback(std::nullopt);
  }

  void close_search() {
    searching = false;
    search_end.cancel();
    boost::system::error_code ignored;
    descriptor.close(ignored);
  }

  // Mapping.

  void map(const MapRequest& wanted, OnMapped callback) {
    request = wanted;
    request.local = gateway.local.to_string();
    request.gateway = gateway.address;
    on_mapped = std::move(callback);
    if (!location.empty()) return start_mapping();
    if (!searching) search();
    if (!searching) search_failed();
  }

  void start_mapping() {
    if (!on_mapped || busy) return;
    busy = true;
    request.location = location;
    run([wanted = request] { return map_port(wanted); },
        [](Impl& self, std::optional<UpnpMapping> result) {
          self.busy = false;
          if (result) {
            // A renewal that came out at another port leaves the old one to its lease.
            self.mapped = self.request;
            self.mapped->external_port = result->external.port;
          } else {
            self.location.clear();
          }
          if (auto callback = std::exchange(self.on_mapped, {})) callback(result);
          if (self.on_stopped) self.stop(std::exchange(self.on_stopped, {}));
        });
  }

  void stop(std::function<void()> done) {
    stopped = true;
    close_search();
    on_mapped = {};
    if (busy) {  // what is being mapped has to be deleted, too
      on_stopped = std::move(done);
      return;
    }
    if (!mapped) return asio::post(executor, std::move(done));
    on_stopped = std::move(done);
    run(
        [unwanted = *mapped] {
          unmap_port(unwanted);
          return std::optional<UpnpMapping>{};
        },
        [](Impl& self, std::optional<UpnpMapping>) {
          if (auto callback = std::exchange(self.on_stopped, {})) callback();
        });
    mapped.reset();
  }

  template <typename Work, typename Then>
  void run(Work work, Then then) {
    auto job = std::make_shared<Job>();
    if (!job->done) return then(*this, std::nullopt);
    auto ready = std::make_shared<asio::posix::stream_descriptor>(executor, ::dup(job->done.get()));
    std::thread([job, work = std::move(work)] { job->finish(work()); }).detach();
    ready->async_wait(asio::posix::stream_descriptor::wait_read,
                      [self = shared_from_this(), job, ready, then](boost::system::error_code error) {
                        if (error) return;
                        std::optional<UpnpMapping> result;
                        {
                          const std::lock_guard lock(job->mutex);
                          result = job->mapping;
                        }
                        then(*self, result);
                      });
    pending = ready;
  }

  asio::any_io_executor executor;
  Gateway gateway;
  std::function<void()> on_seen;
  asio::posix::stream_descriptor descriptor;
  asio::steady_timer search_end;
  std::string location;  // of the description; empty: not known
  bool searching = false, busy = false, stopped = false;
  std::size_t answers = 0;
  MapRequest request;
  OnMapped on_mapped;
  std::function<void()> on_stopped;
  std::optional<MapRequest> mapped;
  std::weak_ptr<asio::posix::stream_descriptor> pending;
};

UpnpGateway::UpnpGateway(asio::any_io_executor executor, const Gateway& gateway,
                         std::function<void()> on_seen)
    : impl_(std::make_shared<Impl>(executor, gateway, std::move(on_seen))) {}

UpnpGateway::~UpnpGateway() {
  impl_->close_search();
  impl_->on_mapped = {};
  impl_->on_stopped = {};
  impl_->on_seen = [] {};
  if (const auto pending = impl_->pending.lock()) pending->close();
}

void UpnpGateway::search() {
  impl_->search();
}

void UpnpGateway::map(std::uint16_t internal_port, std::uint16_t external_port, Duration lease,
                      OnMapped on_mapped) {
  MapRequest request;
  request.internal_port = internal_port;
  request.external_port = external_port;
  request.lease = lease;
  impl_->map(request, std::move(on_mapped));
}

void UpnpGateway::stop(std::function<void()> done) {
  impl_->stop(std::move(done));
}

}  // namespace dh::io
