#pragma once

// The cells of the gate: every row of the matrix at rates and times that a test can afford.

#include <limits>

#include "cells.hh"

namespace dh::bulk::test {

/// Pass marks; what is not named is not asked.
struct Goal {
  double share = 0, most_share = std::numeric_limits<double>::infinity();
  double queue_rtts = std::numeric_limits<double>::infinity();  // 95th percentile
  double mean_queue_rtts = std::numeric_limits<double>::infinity();
  double resent = 1, lost = 1, spurious = 1;
  double jain = 0;
  double seconds = std::numeric_limits<double>::infinity();  // of a transfer
  double stall = std::numeric_limits<double>::infinity();    // seconds
};

struct GateCell {
  Cell cell;
  Goal goal;
};

/// All of them, in the order of their rows.
std::vector<GateCell> gate_cells();

}  // namespace dh::bulk::test
