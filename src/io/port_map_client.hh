#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include <boost/asio/any_io_executor.hpp>

#include "path/netcheck_report.hh"
#include "path/port_mapper.hh"

namespace dh::io {

/// Gets one UDP port of this machine forwarded by its default gateway and keeps it so, by PCP, NAT-PMP or
/// UPnP; for IPv6 a pinhole in the gateway's firewall. One instance per family. Does nothing where there is
/// no gateway, or none that should be asked. A resource on one executor.
class PortMapClient {
public:
  static constexpr Duration kStopLimit = 300ms;
  enum class Family : std::uint8_t { V4, V6 };
  /// The outer endpoint now; empty: there is none (any more, or for the time being).
  using OnMapping = std::function<void(std::optional<Endpoint>)>;

  PortMapClient(boost::asio::any_io_executor executor, Family family, std::uint16_t internal_port,
                OnMapping on_mapping);
  /// Stops, if nobody did.
  ~PortMapClient();
  PortMapClient(const PortMapClient&) = delete;
  PortMapClient& operator=(const PortMapClient&) = delete;

  void start();
  /// Looks for the gateway again: the uplink or an address of this machine changed.
  void on_network_changed();
  /// Deletes what was mapped. on_mapping is not called any more; `done` (may be empty) is called from the
  /// executor within kStopLimit, which must go on running until then.
  void stop(std::function<void()> done);

  /// Everything was tried at least once: the mapping is there, or there is no way to one.
  bool is_settled() const;
  std::optional<path::PortMapper::Mapped> mapping() const;
  path::PortMappingReport report() const;
  /// Empty without a gateway.
  std::optional<path::GatewayPresence> presence() const;

private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with pending waits
};

}  // namespace dh::io
