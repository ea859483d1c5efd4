#pragma once

// stdin and stdout as ends of a session's stream, whatever they are.

#include <boost/asio/any_io_executor.hpp>

#include "io/stream_ends.hh"

namespace dh::io {

/// The descriptors stay the caller's and must stay open.
SourceMaker input(boost::asio::any_io_executor executor, int fd);
SinkMaker output(boost::asio::any_io_executor executor, int fd);

}  // namespace dh::io
