// What the checks share.
#pragma once

#include "tests/gpu/graphs.h"
