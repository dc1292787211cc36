// Walks HRP over four years of made-up prices, with the plugin that was installed beside the library.

#include <walkforge.hpp>

#include <cmath>
#include <iostream>

namespace {

int failed(const wf::Error &error) {
    std::cerr << error.message() << "\n";
    return 1;
}

} // namespace

int main() {
    constexpr std::size_t rows = 1500;
    const std::vector<std::string> names = {"ONE", "TWO", "THREE"};
    std::vector<std::int32_t> dates;
    std::vector<double> prices;
    for (std::size_t row = 0; row < rows; ++row) {
        dates.push_back(wf::days(2015, 1, 1) + static_cast<std::int32_t>(row));
        for (std::size_t asset = 0; asset < names.size(); ++asset) {
            prices.push_back(50.0 + 5.0 * std::sin(0.37 * static_cast<double>(row * (asset + 1))));
        }
    }
    const auto runtime = wf::Runtime::make();
    if (!runtime) return failed(runtime.error());
    const auto panel = wf::Panel::make(wf::Kind::prices, dates, names, prices);
    if (!panel) return failed(panel.error());
    const auto experiment = "[windows]\ntrain_months = 12\n[[models]]\nname = \"hrp\"\nsettings = { lookback = 60 }\n";
    auto run = wf::Run::make(*runtime, *panel, experiment);
    if (!run) return failed(run.error());
    for (auto progress = run->progress(); !progress->finished;) {
        progress = run->step();
        if (!progress) return failed(progress.error());
    }
    const auto path = run->path(1);
    if (!path) return failed(path.error());
    std::cout << "walkforge " << wf::version() << ": " << path->net.size() << " days of HRP\n";
    return path->net.empty() ? 1 : 0;
}
