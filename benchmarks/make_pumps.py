"""Make sweeps/data/pumps.csv.gz: simulated test-stand readings of centrifugal pumps.

Ours, so that the table sweep needs no download and no licence. Each row is one reading: the pump's
speed, impeller and fluid, the flow and head measured, and the efficiency that follows from the pump's
best efficiency point, its specific speed, the fluid's viscosity and wear, with measurement noise. The
shapes are those of any textbook (J. F. Gülich, Centrifugal Pumps: efficiency is a parabola of flow
about the best efficiency point, affinity laws in speed and diameter); the numbers are invented.

    python benchmarks/make_pumps.py [FILE]
"""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROWS = 3_000
SEED = 20_260
TABLE = Path(__file__).resolve().parent.parent / "sweeps" / "data" / "pumps.csv.gz"

IMPELLERS = {"closed": (0.84, 0.9), "semi_open": (0.79, 1.0), "open": (0.74, 1.1), "vortex": (0.56, 1.35)}
"""Peak efficiency, and width of the efficiency curve in units of the best flow."""

FLUIDS = {"water": 1.0, "brine": 1.4, "glycol": 16.0, "light_oil": 34.0, "heavy_oil": 160.0, "slurry": 8.0}
"""Kinematic viscosity, mm²/s."""


def pumps(rows: int = ROWS, seed: int = SEED) -> pd.DataFrame:
    """Simulate `rows` readings; the same seed gives the same table."""
    rng = np.random.default_rng(seed)
    impeller = rng.choice(list(IMPELLERS), rows, p=[0.5, 0.25, 0.15, 0.1])
    fluid = rng.choice(list(FLUIDS), rows, p=[0.45, 0.1, 0.15, 0.12, 0.08, 0.1])
    speed = rng.choice([960.0, 1450.0, 1780.0, 2900.0, 3550.0], rows) * rng.normal(1.0, 0.01, rows)
    diameter = rng.uniform(120, 420, rows)
    hours = rng.gamma(2.0, 4_000.0, rows)
    best_flow = 95 * (speed / 1450) * (diameter / 250) ** 3 * rng.lognormal(0, 0.08, rows)
    ratio = rng.beta(3.2, 2.4, rows) * 1.5
    shutoff_head = 22 * (speed / 1450) ** 2 * (diameter / 250) ** 2
    head = shutoff_head * (1.05 - 0.32 * ratio**2) * rng.normal(1, 0.02, rows)
    specific_speed = speed * np.sqrt(best_flow / 3600) / (0.75 * shutoff_head) ** 0.75

    peak = np.array([IMPELLERS[kind][0] for kind in impeller])
    width = np.array([IMPELLERS[kind][1] for kind in impeller])
    viscosity = np.array([FLUIDS[kind] for kind in fluid])
    size = 0.07 * np.log10(np.maximum(best_flow, 1) / 95)
    shape = -0.35 * np.log10(specific_speed / 45) ** 2
    thick = -0.055 * np.log10(viscosity) ** 1.6 * (95 / best_flow) ** 0.15
    wear = -0.05 * (1 - np.exp(-hours / 14_000)) * np.where(fluid == "slurry", 2.6, 1.0)
    curve = 1 - ((ratio - 1) / width) ** 2 * np.where(ratio > 1, 1.35, 0.95)
    efficiency = 100 * np.clip((peak + size + shape + thick + wear) * curve, 0.02, 0.93)

    table = pd.DataFrame(
        {
            "flow_m3h": (best_flow * ratio * rng.normal(1, 0.01, rows)).round(2),
            "head_m": head.round(2),
            "speed_rpm": speed.round(0),
            "impeller_mm": diameter.round(0),
            "impeller": impeller,
            "fluid": fluid,
            "fluid_temperature_c": rng.normal(38, 12, rows).round(1),
            "running_hours": hours.round(0),
            "vibration_mm_s": (
                1.1 + 2.2 * (ratio - 1) ** 2 + hours / 30_000 + rng.gamma(2, 0.15, rows)
            ).round(2),
            "efficiency": (efficiency + rng.normal(0, 0.8, rows)).clip(0.5).round(2),
        }
    )
    for column, share in {"fluid_temperature_c": 0.05, "vibration_mm_s": 0.03, "fluid": 0.01}.items():
        table.loc[rng.random(rows) < share, column] = None  # a sensor off, a field left blank
    return table


def write(file: Path) -> None:
    """Write the table; the bytes are the same every time (no time stamp in the gzip header)."""
    text = io.StringIO()
    pumps().to_csv(text, index=False, lineterminator="\n")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else TABLE)
