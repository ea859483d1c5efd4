#include "wire/ssdp.hh"

#include <gtest/gtest.h>

namespace dh::wire::ssdp {
namespace {

const std::string kAnswer =
    "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: "
    "urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n"
    "EXT:\r\nLOCATION: http://192.168.11.1:5000/rootDesc.xml\r\n\r\n";

TEST(SsdpSearch, IsOneHttpRequestWithoutBody) {
  EXPECT_EQ(make_search(kEverything),
            "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nST: ssdp:all\r\nMAN: \"ssdp:discover\"\r\n"
            "MX: 1\r\n\r\n");
}

TEST(SsdpAnswer, NamesAPlaceAndWhatIsThere) {
  const auto answer = parse_answer(as_bytes(kAnswer));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->location, "http://192.168.11.1:5000/rootDesc.xml");
  EXPECT_TRUE(answer->is_gateway());
  const auto other =
      parse_answer(as_bytes("HTTP/1.1 200 OK\r\nlocation: http://x/\r\nst: upnp:rootdevice\r\n\r\n"));
  ASSERT_TRUE(other);
  EXPECT_FALSE(other->is_gateway());
}

TEST(SsdpAnswer, IsRefusedWhenCutForeignOrWithoutPlace) {
  for (std::size_t size = 0; size < kAnswer.size(); ++size)
    EXPECT_FALSE(parse_answer(as_bytes(std::string_view(kAnswer).substr(0, size)))) << size;
  EXPECT_FALSE(parse_answer(as_bytes(make_search(kEverything))));
  EXPECT_FALSE(parse_answer(as_bytes("HTTP/1.1 404 No\r\nLOCATION: http://x/\r\n\r\n")));
  EXPECT_FALSE(parse_answer(as_bytes("HTTP/1.1 200 OK\r\nST: x\r\n\r\n")));
  EXPECT_FALSE(parse_answer(as_bytes(kAnswer + std::string(5000, 'x'))));
}

}  // namespace
}  // namespace dh::wire::ssdp
