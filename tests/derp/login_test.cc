#include "derp/login.hh"

#include "derp/derp_world.hh"

namespace dh::derp::test {
namespace {

const std::string kMeshHex = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const std::string kVectorKeyHex = "6d529e9d4ef632d22d4a4214cb49da8f1ba1b72697061fb24e312984c35ec8d8";

TEST(ClientLogin, ReadsNamesInAnyCaseAndIgnoresOthers) {
  EXPECT_TRUE(ClientLogin::from_json("{}"));
  for (const std::string& json : {R"({"Version":5,"MeshKey":")" + kVectorKeyHex + R"("})",
                                  R"({"version":5,"meshKey":")" + kVectorKeyHex + R"("})",
                                  R"({"VERSION":5,"meshkey":")" + kVectorKeyHex + R"(","Future":[{}]})"}) {
    const auto login = ClientLogin::from_json(json);
    ASSERT_TRUE(login) << json;
    EXPECT_EQ(login->version, 5);
    EXPECT_EQ(to_hex(login->mesh_key->expose()), kVectorKeyHex);
  }
  const auto login = ClientLogin::from_json(R"({"canackpings":true,"IsProber":true,"AppName":"x\u0041"})");
  EXPECT_TRUE(login->can_ack_pings);
  EXPECT_TRUE(login->is_prober);
  EXPECT_EQ(login->app_name, "xA");
}

TEST(ClientLogin, RefusesMeshKeysThatAreNotSixtyFourDigits) {
  EXPECT_FALSE(ClientLogin::from_json(R"({"meshKey":"abcdefg"})"));
  EXPECT_FALSE(ClientLogin::from_json(R"({"meshKey":""})"));
  EXPECT_FALSE(ClientLogin::from_json(R"({"meshKey":null})"));
  EXPECT_FALSE(ClientLogin::from_json(R"({"meshKey":7})"));
  EXPECT_FALSE(ClientLogin::from_json(R"({"meshKey":" )" + kMeshHex + R"("})"));
  EXPECT_FALSE(ClientLogin::from_json(R"({"meshKey":")" + kMeshHex + R"(0123"})"));
  EXPECT_FALSE(ClientLogin::from_json(R"({"meshKey":")" + std::string(64, '0') + R"("})")->mesh_key);
}

TEST(ClientLogin, RefusesWhatIsNoObjectOrHasOtherTypes) {
  for (const char* json :
       {"", "[]", "null", "7", "{", R"({"version":"2"})", R"({"version":2.5})", R"({"CanAckPings":1})",
        R"({"AppName":[]})", "{} trailing", R"({"version":99999999999999999999})"}) {
    EXPECT_FALSE(ClientLogin::from_json(json)) << json;
  }
  EXPECT_FALSE(ClientLogin::from_json(R"({"x":)" + std::string(40, '[') + std::string(40, ']') + "}"));
  EXPECT_EQ(ClientLogin::from_json(R"({"version":null})")->version, 0);
}

TEST(ClientLogin, WritesItsFieldsInTheUsualOrder) {
  ClientLogin login{.version = 2, .can_ack_pings = true};
  EXPECT_EQ(login.to_json(), R"({"version":2,"CanAckPings":true})");
  login.mesh_key = parse_mesh_key(kMeshHex);
  login.is_prober = true;
  login.app_name = "a\"b";
  EXPECT_EQ(login.to_json(), R"({"meshKey":")" + kMeshHex +
                                 R"(","version":2,"CanAckPings":true,"IsProber":true,"AppName":"a\"b"})");
}

TEST(MeshKey, IsTrimmedInFilesAndMustHaveSixtyFourDigits) {
  const std::string upper = "0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF";
  EXPECT_EQ(to_hex(parse_mesh_key("  " + upper + "\n")->expose()), kMeshHex);
  EXPECT_FALSE(parse_mesh_key("0123456789abcdef"));
  EXPECT_FALSE(parse_mesh_key(kMeshHex + "0"));
  EXPECT_FALSE(parse_mesh_key(std::string(64, '0')));
  EXPECT_FALSE(parse_mesh_key(" "));
}

TEST(ServerLogin, ReadsTheBucketAndTreatsNegativeRatesAsNone) {
  EXPECT_EQ(ServerLogin::from_json(R"({"version":2})"), (ServerLogin{2, 0, 0}));
  EXPECT_EQ(ServerLogin::from_json(R"({"tokenbucketbytespersecond":5,"TokenBucketBytesBurst":9})"),
            (ServerLogin{0, 5, 9}));
  EXPECT_EQ(ServerLogin::from_json(R"({"TokenBucketBytesPerSecond":-5})"), (ServerLogin{0, 0, 0}));
  EXPECT_FALSE(ServerLogin::from_json(R"({"TokenBucketBytesPerSecond":"5"})"));
  EXPECT_FALSE(ServerLogin::from_json("[]"));
}

struct BoxVector {
  ClientLogin login;
  std::string frame;
};

std::vector<BoxVector> client_vectors() {
  const std::string head =
      "50d20b455ecf12bc453f83c2cfdb2a24925d06cf2598dcaa54e91af82ce9f765"
      "000102030405060708090a0b0c0d0e0f1011121314151617";
  return {
      {{.version = 2, .can_ack_pings = true},
       "0200000068" + head +
           "1037c1659912af8b1663c9d8aefab5db08bd3c98ba229ae706abd011c17aff26d97ac47bb6ffd411d87da243141fc4f"
           "c"},
      {{.version = 2, .can_ack_pings = false},
       "0200000069" + head +
           "abb361ac74bc06dc1ba575a622fd0e1b08bd3c98ba229ae706abd011c17aff26d97ac47bb6ffd411d87da2510706d2e46"
           "6"},
      {{.mesh_key = parse_mesh_key(kMeshHex), .version = 2, .can_ack_pings = true},
       "02000000b5" + head +
           "14268477b02fa58ecd5d84840652700108bd2798bb39b8ed11abd001dd698e74830e9127deafdb14c83bfd51565b93b22"
           "fea48"
           "d3ad6ca5a9380f5654a52518168fec4fcdb72b01fe6cd1f70e1ed41ad4843580fa2a5c7e0e244489e7d6fb8898bd2d161"
           "d538f"
           "e5047d0f033e21f4c040e77a69369650e3097d9b8ad063"},
  };
}

TEST(LoginBox, SealsAndOpensTheGoldenClientInfos) {
  for (const auto& vector : client_vectors()) {
    FixedRng rng(hex("000102030405060708090a0b0c0d0e0f1011121314151617"));
    Bytes frame;
    ASSERT_TRUE(append_client_info(frame, vector.login, vector_client(), vector_server().pub, rng));
    EXPECT_EQ(to_hex(frame), vector.frame);
    const auto info = wire::derp::ClientInfoFrame::parse(ByteView(frame).subspan(5)).value();
    EXPECT_EQ(info.key, vector_client().pub);
    const auto login = open_client_info(info.sealed, info.key, vector_server().secret);
    ASSERT_TRUE(login);
    EXPECT_EQ(login->to_json(), vector.login.to_json());
    for (std::size_t i = 5; i < frame.size(); ++i) {
      Bytes forged = frame;
      forged[i] ^= std::byte{1};
      const auto other = wire::derp::ClientInfoFrame::parse(ByteView(forged).subspan(5)).value();
      ASSERT_FALSE(open_client_info(other.sealed, other.key, vector_server().secret)) << i;
    }
  }
}

TEST(LoginBox, SealsAndOpensTheGoldenServerInfos) {
  const std::string nonce = "808182838485868788898a8b8c8d8e8f9091929394959697";
  const std::pair<ServerLogin, std::string> vectors[] = {
      {{.version = 2}, "0300000035" + nonce + "76a5beeb1195ef2c222c62448901b2a94dc4acd8df07b507e4cc15b83a"},
      {{2, 1250000, 2500000},
       "0300000079" + nonce +
           "3a780296565eaa79e1b83d224e78350d4dc4acd8df07b507e4cc15b86bfa11dacb97640ae792db5912e2292b24bba5581"
           "2c5a1"
           "155aa277fa9ba55cf4e8e81a625b0e633c7530e9999bd380bfe28f3c3a38a5d8b2b6dd6fe05804147f3fdf8e646e"}};
  for (const auto& [login, golden] : vectors) {
    FixedRng rng(hex(nonce));
    Bytes frame;
    ASSERT_TRUE(append_server_info(frame, login, vector_server(), vector_client().pub, rng));
    EXPECT_EQ(to_hex(frame), golden);
    const ByteView sealed = ByteView(frame).subspan(5);
    EXPECT_EQ(open_server_info(sealed, vector_server().pub, vector_client().secret), login);
    for (std::size_t size = 0; size < sealed.size(); ++size)
      EXPECT_FALSE(open_server_info(sealed.first(size), vector_server().pub, vector_client().secret));
  }
}

TEST(LoginBox, RefusesKeysNobodyCanComputeWith) {
  SeededRng rng(1);
  Bytes out;
  EXPECT_FALSE(append_client_info(out, {}, vector_client(), PublicKey{}, rng));
  EXPECT_TRUE(out.empty());
}

}  // namespace
}  // namespace dh::derp::test
