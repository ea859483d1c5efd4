#pragma once

#include <boost/asio.hpp>

#include "base/address.hh"

namespace dh::io {

inline boost::asio::ip::address to_asio(const IpAddress& address) {
  if (address.is_v4()) {
    boost::asio::ip::address_v4::bytes_type bytes;
    std::memcpy(bytes.data(), address.v4_bytes().data(), bytes.size());
    return boost::asio::ip::address_v4(bytes);
  }
  boost::asio::ip::address_v6::bytes_type bytes;
  std::memcpy(bytes.data(), address.mapped().data(), bytes.size());
  return boost::asio::ip::address_v6(bytes, address.zone());
}

inline IpAddress from_asio(const boost::asio::ip::address& address) {
  if (address.is_v4()) {
    ByteArray<4> bytes;
    std::memcpy(bytes.data(), address.to_v4().to_bytes().data(), bytes.size());
    return IpAddress::v4(bytes);
  }
  ByteArray<16> bytes;
  std::memcpy(bytes.data(), address.to_v6().to_bytes().data(), bytes.size());
  return IpAddress::v6(bytes).with_zone(static_cast<std::uint32_t>(address.to_v6().scope_id()));
}

template <typename AsioEndpoint>
Endpoint endpoint_from_asio(const AsioEndpoint& endpoint) {
  return Endpoint{from_asio(endpoint.address()), endpoint.port()};
}

}  // namespace dh::io
