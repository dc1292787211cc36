// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A walkforge plugin in C++: the long-only minimum-variance portfolio. The sample covariance of the lookback is
// regularised by a ridge, and an active-set method finds the exact weights.
//
//   c++ -std=c++17 -O2 -shared -fPIC -Wl,--version-script=plugins/examples/plugin.map -I include
//       plugins/examples/min_variance.cpp -o libwalkforge_min_variance.so
//
// Inside, this is ordinary C++ that throws. No exception may leave a plugin, so each function of the table that can
// throw runs in `guarded`, which turns exceptions into errors. (momentum.c explains the calls one by one.)

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <exception>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "walkforge_plugin.h"

namespace {

const wf_host *host = nullptr;

wf_string text(std::string_view view) { return {view.data(), view.size()}; }

// An exception with an error code other than WF_E_PLUGIN.
struct Failure : std::runtime_error {
    Failure(std::int32_t code, const std::string &message) : std::runtime_error(message), code(code) {}
    std::int32_t code;
};

// Runs `body` and turns any exception into an error and its code.
template <class Body> std::int32_t guarded(wf_error **error, Body &&body) noexcept {
    const auto failed = [&](std::int32_t code, const char *message) {
        if (error != nullptr) *error = host->error_new(code, text(message), nullptr);
        return code;
    };
    try {
        body();
        return WF_OK;
    } catch (const Failure &failure) {
        return failed(failure.code, failure.what());
    } catch (const std::exception &exception) {
        return failed(WF_E_PLUGIN, exception.what());
    } catch (...) {
        return failed(WF_E_PLUGIN, "an exception of an unknown type");
    }
}

// A symmetric matrix, [size, size].
class Matrix {
  public:
    explicit Matrix(std::size_t size) : size_(size), values_(size * size, 0.0) {}
    double &operator()(std::size_t row, std::size_t column) { return values_.at(row * size_ + column); }
    double operator()(std::size_t row, std::size_t column) const { return values_.at(row * size_ + column); }
    std::size_t size() const { return size_; }

  private:
    std::size_t size_;
    std::vector<double> values_;
};

// Computes the covariance of the columns. A missing return counts as the mean of its asset.
Matrix covariance(const wf_past &past) {
    const std::size_t rows = past.rows, assets = past.assets;
    if (rows < 2) throw Failure(WF_E_INVALID_DATA, "a covariance needs at least 2 rows");
    std::vector<double> deviations(past.returns, past.returns + rows * assets);
    for (std::size_t asset = 0; asset < assets; ++asset) {
        double sum = 0.0, count = 0.0;
        for (std::size_t row = 0; row < rows; ++row) {
            const double value = deviations[row * assets + asset];
            if (!std::isnan(value)) sum += value, count += 1.0;
        }
        for (std::size_t row = 0; row < rows; ++row) {
            double &value = deviations[row * assets + asset];
            value = std::isnan(value) ? 0.0 : value - sum / count;
        }
    }
    Matrix out(assets);
    for (std::size_t one = 0; one < assets; ++one) {
        for (std::size_t other = 0; other <= one; ++other) {
            double sum = 0.0;
            for (std::size_t row = 0; row < rows; ++row) {
                sum += deviations[row * assets + one] * deviations[row * assets + other];
            }
            out(one, other) = out(other, one) = sum / static_cast<double>(rows - 1);
        }
    }
    return out;
}

// Solves A x = 1 over the `free` rows and columns by Cholesky factorisation.
std::vector<double> solve_ones(const Matrix &matrix, const std::vector<std::size_t> &free) {
    const std::size_t size = free.size();
    Matrix lower(size);
    for (std::size_t row = 0; row < size; ++row) {
        for (std::size_t column = 0; column <= row; ++column) {
            double sum = matrix(free[row], free[column]);
            for (std::size_t k = 0; k < column; ++k) sum -= lower(row, k) * lower(column, k);
            if (row != column) {
                lower(row, column) = sum / lower(column, column);
            } else if (sum > 0.0) {
                lower(row, row) = std::sqrt(sum);
            } else {
                throw Failure(WF_E_INVALID_DATA, "the covariance is singular; a larger 'ridge' helps");
            }
        }
    }
    std::vector<double> x(size, 1.0);
    for (std::size_t row = 0; row < size; ++row) {
        for (std::size_t k = 0; k < row; ++k) x[row] -= lower(row, k) * x[k];
        x[row] /= lower(row, row);
    }
    for (std::size_t row = size; row-- > 0;) {
        for (std::size_t k = row + 1; k < size; ++k) x[row] -= lower(k, row) * x[k];
        x[row] /= lower(row, row);
    }
    return x;
}

// Minimises x'Ax/2 - sum(x) over x >= 0 and scales x to sum to 1, which gives the minimum-variance portfolio. The
// active-set method of Lawson and Hanson (1974) frees assets one by one and fixes those again that would become
// negative.
std::vector<double> minimise_variance(const Matrix &matrix) {
    const std::size_t assets = matrix.size();
    std::vector<double> x(assets, 0.0);
    std::vector<bool> is_free(assets, false);
    for (std::size_t round = 0; round < 100 * assets; ++round) {
        // The asset with the steepest descent enters.
        double steepest = 1e-10;
        std::size_t entering = assets;
        for (std::size_t asset = 0; asset < assets; ++asset) {
            double slope = 1.0;
            for (std::size_t other = 0; other < assets; ++other) slope -= matrix(asset, other) * x[other];
            if (!is_free[asset] && slope > steepest) steepest = slope, entering = asset;
        }
        if (entering == assets) {
            double sum = 0.0;
            for (const double value : x) sum += value;
            for (double &value : x) value /= sum;
            return x;
        }
        is_free[entering] = true;
        for (bool inside = false; !inside;) {
            std::vector<std::size_t> free;
            for (std::size_t asset = 0; asset < assets; ++asset) {
                if (is_free[asset]) free.push_back(asset);
            }
            const std::vector<double> target = solve_ones(matrix, free);
            // Step toward the solution until a weight reaches 0; assets that reach it leave.
            double step = 1.0;
            for (std::size_t k = 0; k < free.size(); ++k) {
                if (target[k] <= 0.0) step = std::min(step, x[free[k]] / (x[free[k]] - target[k]));
            }
            inside = true;
            for (std::size_t k = 0; k < free.size(); ++k) {
                double &value = x[free[k]];
                const bool leaves = target[k] <= 0.0 && x[free[k]] / (x[free[k]] - target[k]) <= step;
                value = leaves ? 0.0 : value + step * (target[k] - value);
                if (leaves) is_free[free[k]] = inside = false;
            }
        }
    }
    throw std::runtime_error("the active-set method did not converge");
}

class MinVariance {
  public:
    MinVariance(const wf_settings_service &service, const wf_settings *settings) {
        std::int64_t lookback = 0;
        if (service.get_integer(settings, text("lookback"), &lookback) != WF_OK ||
            service.get_real(settings, text("ridge"), &ridge_) != WF_OK) {
            throw std::logic_error("a setting with a default is missing");
        }
        lookback_ = static_cast<std::size_t>(lookback);
    }

    std::size_t lookback() const { return lookback_; }

    std::vector<double> weights(const wf_past &past) const {
        Matrix matrix = covariance(past);
        double mean = 0.0;
        for (std::size_t asset = 0; asset < past.assets; ++asset) mean += matrix(asset, asset);
        mean /= static_cast<double>(past.assets);
        if (!(mean > 0.0)) throw Failure(WF_E_INVALID_DATA, "no return varies over the lookback");
        if (!std::isfinite(mean)) throw Failure(WF_E_INVALID_DATA, "the returns are too large for a covariance");
        // In units of the mean variance, so that one tolerance of the active-set method fits any data.
        Matrix scaled(past.assets);
        for (std::size_t one = 0; one < past.assets; ++one) {
            for (std::size_t other = 0; other < past.assets; ++other) scaled(one, other) = matrix(one, other) / mean;
            scaled(one, one) += ridge_;
        }
        return minimise_variance(scaled);
    }

  private:
    std::size_t lookback_ = 0;
    double ridge_ = 0.0;
};

// The functions of the table, which the host calls through C.

std::int32_t describe(wf_string *out, wf_error **) {
    *out = text(R"({"name": "min_variance", "version": "1.0.0", "kind": "estimator",
        "doc": "the long-only minimum-variance portfolio",
        "settings": [
            {"name": "lookback", "type": "integer", "minimum": 2, "maximum": 100000, "default": 252,
             "doc": "rows used to estimate the covariance"},
            {"name": "ridge", "type": "real", "minimum": 1e-9, "maximum": 1000.0, "default": 0.01,
             "doc": "added to each variance, in units of their mean; larger values give more equal weights"}
        ]})");
    return WF_OK;
}

std::int32_t create(const wf_context *, const wf_settings *settings, void **model, wf_error **error) {
    return guarded(error, [&] {
        const auto *service = static_cast<const wf_settings_service *>(host->get_service(text("settings"), 1));
        if (service == nullptr) throw std::runtime_error("the host has no service 'settings'");
        *model = std::make_unique<MinVariance>(*service, settings).release();
    });
}

void destroy(void *model) { delete static_cast<MinVariance *>(model); }

std::int32_t requirements(const void *model, wf_requirements *out, wf_error **) {
    out->lookback = static_cast<const MinVariance *>(model)->lookback();
    out->min_history = (out->lookback + 1) / 2;
    return WF_OK;
}

std::int32_t weights(const void *model, const wf_past *past, double *out, std::size_t capacity, wf_error **error) {
    return guarded(error, [&] {
        const auto found = static_cast<const MinVariance *>(model)->weights(*past);
        if (capacity < found.size()) throw std::length_error("the host's buffer is too small");
        std::copy(found.begin(), found.end(), out);
    });
}

} // namespace

extern "C" std::int32_t wf_plugin_init_min_variance(const wf_host *from, wf_plugin_api *out, wf_error **error) {
    host = from;
    return guarded(error, [&] {
        if (host->abi_major != WF_ABI_MAJOR) {
            throw Failure(WF_E_PLUGIN_ABI, "min_variance was built for another ABI");
        }
        out->abi_major = WF_ABI_MAJOR;
        out->abi_minor = WF_ABI_MINOR;
        out->describe = describe;
        out->create = create;
        out->destroy = destroy;
        out->requirements = requirements;
        out->weights = weights;
    });
}
