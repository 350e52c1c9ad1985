"""Times and ratings: what forms they may come in, what they become, and which ratings need a decision before they are edges."""

import datetime as dt
import math
import warnings

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from fastgcn_rec import Graph
from fastgcn_rec.data import Interactions, make_dataset, read_csv, read_npz, read_parquet
from fastgcn_rec.data.times import is_date, iso_seconds


def write(path, text):
    path.write_text(text)
    return path


# ---- times


STAMPS = [dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 2, 12)]
SECONDS = [1577836800, 1577966400]
ZONE = dt.timezone(dt.timedelta(hours=-3, minutes=-30))


def time_containers():
    yield STAMPS
    yield [stamp.replace(tzinfo=dt.timezone.utc).astimezone(ZONE) for stamp in STAMPS]
    yield [np.datetime64(stamp) for stamp in STAMPS]
    yield np.array(STAMPS, "datetime64[ms]")
    yield ["2020-01-01", "2020-01-02 12:00"]
    yield np.array(["2020-01-01T00:00:00Z", "2020-01-02T09:00:00-03:00"])
    yield np.array(["2020-01-01 02:00:00 +02", "2020-01-02t12:00:00.0z"], object)
    try:
        import pyarrow as pa

        naive = pa.array(STAMPS, pa.timestamp("us"))
        yield from (naive, naive.cast(pa.timestamp("s", "Europe/Berlin")), pa.chunked_array([naive[:1], naive[1:]]))
    except ImportError:
        pass
    try:
        import pandas as pd

        series = pd.Series(STAMPS)
        yield from (series, series.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"), series.astype(object))
    except ImportError:
        pass


def test_times_of_any_form_are_seconds_in_utc(tmp_path):
    for time in time_containers():
        events = Interactions.from_raw([1, 2], [1, 2], time=time)
        assert (events.time.tolist(), events.time.dtype) == (SECONDS, np.int64), time
    path = write(tmp_path / "a.csv", "user,item,t\n1,1,2020-01-01T00:00:00Z\n2,2, 2020-01-02 13:30:00+0130\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_csv(path, time="t").time.tolist() == SECONDS
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    for column in (
        pa.array(["2020-01-01", "2020-01-02T12"[:10] + " 12:00"]),
        pa.array(STAMPS, pa.timestamp("ns", "UTC")),
    ):
        pq.write_table(pa.table({"user": [1, 2], "item": [1, 2], "t": column}), tmp_path / "t.parquet")
        assert read_parquet(tmp_path / "t.parquet", time="t").time.tolist() == SECONDS


@given(st.datetimes(dt.datetime(1600, 1, 1), dt.datetime(2400, 1, 1)), st.integers(-14 * 60, 14 * 60))
def test_iso_texts_read_as_python_reads_them(moment, minutes):
    moment = moment.replace(tzinfo=dt.timezone(dt.timedelta(minutes=minutes)))
    found = Interactions.from_raw([1], [1], time=[moment.isoformat()]).time[0]
    assert found == pytest.approx(moment.timestamp(), abs=1e-5, rel=0)


@pytest.mark.parametrize("second", ["1577836800", "1577836800000", "20200102", "2021", "1.5"])
@pytest.mark.parametrize("chunk", [1, 100])
def test_dates_and_numbers_are_not_mixed(tmp_path, monkeypatch, second, chunk):
    monkeypatch.setattr("fastgcn_rec.data.reading.text.CHUNK_ROWS", chunk)
    for first, other in (("2020-01-01", second), (second, "2020-01-01")):
        path = write(tmp_path / "a.csv", f"user,item,when\n1,10,{first}\n1,11,{other}\n")
        with pytest.raises(
            ValueError, match=r"line 3: the when|line 3: the time .* while those before are .*; use one form"
        ):
            read_csv(path, time="when")


@pytest.mark.parametrize(
    "value", ["now", "today", "NaT", "2020", "2020-13-01", "2020-02-30", "2020-01-01 25:00", "2020-01-01T00:00:00+1"]
)
def test_what_is_no_date_is_none(tmp_path, value):
    with pytest.raises(ValueError, match=r"line 3: the time "):
        read_csv(write(tmp_path / "a.csv", f"user,item,t\n1,1,2020-01-01\n1,2,{value}\n"), time="t")
    with pytest.raises(ValueError, match="at position 1"):
        Interactions.from_raw([1, 2], [1, 2], time=["2020-01-01", value])


def test_zones_are_those_of_a_clock():
    for hours in range(100):
        for minutes in range(100):
            zone = f"{hours:02d}:{minutes:02d}"
            if hours < 24 and minutes < 60:
                moment = dt.datetime.fromisoformat(f"2020-01-01T00:00:00-{zone}")
                assert iso_seconds([f"2020-01-01T00:00-{zone}"])[0] == moment.timestamp()
            else:
                assert not any(
                    is_date(f"2020-01-01T00:00{sign}{z}") for sign in "+-" for z in (zone, zone.replace(":", ""))
                )
    with pytest.raises(ValueError, match="at position 1"):
        Interactions.from_raw([1, 2], [1, 2], time=["2020-01-01", "2020-01-01T00:00:00+99:99"])


@pytest.mark.parametrize("as_given", [list, np.asarray])
def test_times_beyond_64_bits_are_refused_and_those_below_kept(as_given):
    kept = as_given([np.uint64(5), np.uint64(2**63 - 1)])
    assert Interactions.from_raw([1, 2], [1, 2], time=kept).time.tolist() == [5, 2**63 - 1]
    for value in (2**63, 2**63 + 5, 2**64 - 1):
        with pytest.raises(ValueError, match=rf"time must be below 2\*\*63.*got {value} at position 1"):
            Interactions.from_raw([1, 2], [1, 2], time=as_given([np.uint64(5), np.uint64(value)]))
    for unit in "YMWDhm":
        few, many = (np.array([0, n]).astype(f"datetime64[{unit}]") for n in (-3, 2**62))
        assert Interactions.from_raw([1, 2], [1, 2], time=few).time[1] < 0
        with pytest.raises(ValueError, match=r"time must fit int64 as seconds since 1970, got .* at position 1"):
            Interactions.from_raw([1, 2], [1, 2], time=many)


# ---- ratings and negatives


def test_thresholds_mean_the_numbers_that_were_given():
    def kept(ratings, threshold):
        return len(Interactions.from_raw([1] * len(ratings), [1] * len(ratings), ratings).filter_rating(threshold))

    for value in (0.7, np.float64(4.1), np.float32(0.7), 16_777_217, 3):
        assert kept(np.array([value, 0.1], type(value) if isinstance(value, np.generic) else None), value) == 1, value
    assert kept(np.array([0.7, 0.1], np.float32), 0.7) == 1
    assert kept([16_777_217, 16_777_216], 16_777_217) == 1
    assert Interactions.from_raw([1], [1], [1e39]).rating.tolist() == [1e39]
    assert kept(np.array([1, 2], np.float32), 1e39) == 0
    with pytest.raises(ValueError, match="min_rating must be a number, got nan"):
        kept([1], math.nan)
    assert Interactions.from_raw([1, 2], [1, 2], np.array([True, False])).rating.tolist() == [1, 0]


def test_what_may_be_a_negative_becomes_an_edge_only_if_asked_for(tmp_path):
    matrix = scipy.sparse.csr_array(np.array([[1.0, -1.0], [0.0, 1.0]]))
    scipy.sparse.save_npz(tmp_path / "m.npz", matrix)
    path = write(tmp_path / "l.csv", "user,item,label\n1,1,1\n2,1,1\n2,2,0\n")
    for events in (read_npz(tmp_path / "m.npz"), read_csv(path, rating="label")):
        with pytest.raises(
            ValueError,
            match=r"min_rating must be given where ratings are not all above 0.* of user [012] and item [012]; min_rating=1 \(--min-rating 1\)",
        ):
            make_dataset("a", events, split="none")
        assert len(make_dataset("a", events, split="none", min_rating=1).train) == 2
        assert len(make_dataset("a", events, split="none", min_rating=-math.inf).train) == 3
    with pytest.raises(
        ValueError, match=r"positive values where there is an edge, got -1\.0 at \[0, 1\]; .* user_items > 0"
    ):
        Graph(matrix)
    with pytest.raises(ValueError, match="positive values"):
        Graph(scipy.sparse.csr_array(np.array([[np.nan]])))
    assert Graph(matrix > 0).n_edges == 2


def test_single_dates_beyond_microseconds_are_kept_as_seconds_or_refused():
    known = np.datetime64("2020-01-01")
    for far in (np.datetime64(400_000, "Y"), np.datetime64(2**55, "s"), np.datetime64(-(2**61), "M")):
        with pytest.raises(ValueError, match=r"item_info\['when'\]: .* does not fit int64 as microseconds since 1970"):
            Interactions.from_raw([1], [1], item_ids=[1, 2], item_info={"when": [known, far]})
        if np.datetime_data(far.dtype)[0] == "M":
            with pytest.raises(ValueError, match="time must fit int64 as seconds since 1970"):
                Interactions.from_raw([1, 2], [1, 2], time=[known, far])
        else:
            time = Interactions.from_raw([1, 2], [1, 2], time=[known, far]).time
            assert time.tolist() == [1577836800, int(far.astype("datetime64[s]").astype(np.int64))]
    missing = Interactions.from_raw([1], [1], item_ids=[1, 2], item_info={"when": [known, np.datetime64("NaT", "us")]})
    assert np.isnat(missing.item_info["when"]).tolist() == [False, True]


def test_a_unit_makes_seconds_of_numbers_and_leaves_dates(tmp_path):
    for unit, per in {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}.items():
        moments = np.array([0, 1, 1_600_000_000], np.int64)
        found = Interactions.from_raw([1] * 3, [2] * 3, time=moments * per, time_unit=unit).time
        assert (found.dtype, found.tolist()) == (np.dtype(np.int64), moments.tolist())
        stamps = (moments * per + per // 2).view(f"datetime64[{unit}]")
        as_numbers = Interactions.from_raw([1] * 3, [2] * 3, time=stamps.view(np.int64), time_unit=unit).time
        as_dates = Interactions.from_raw([1] * 3, [2] * 3, time=stamps, time_unit=unit).time
        assert np.array_equal(as_numbers, as_dates)
        path = tmp_path / "t.csv"
        path.write_text("user,item,time\n" + "".join(f"1,2,{n}\n" for n in stamps.view(np.int64)))
        assert np.array_equal(read_csv(path, time="time", time_unit=unit).time, as_dates)
    assert Interactions.from_raw([1], [2], time=[1.5], time_unit="ms").time.tolist() == [0.0015]
    with pytest.raises(ValueError, match=r"time_unit must be one of 's', 'ms', 'us', 'ns' or None, got 'min'"):
        Interactions.from_raw([1], [2], time=[1], time_unit="min")


def test_a_form_reads_dates_that_are_no_iso_texts(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    cases = {
        "%d.%m.%Y %H:%M": (["02.01.1970 00:01", "01.01.1970 00:00"], [86460, 0]),
        "%Y%m%d": ([19700102, 19700101], [86400, 0]),
        "%Y-%m-%dT%H:%M:%S.%f%z": (["1970-01-01T01:00:00.5+0100", "1970-01-01T00:00:00.0+0000"], [0.5, 0]),
    }
    for form, (values, seconds) in cases.items():
        assert Interactions.from_raw([1, 2], [3, 4], time=values, time_format=form).time.tolist() == seconds
        path = tmp_path / "t"
        path.write_text("user,item,time\n" + "".join(f"1,2,{value}\n" for value in values))
        assert read_csv(path, time="time", time_format=form).time.tolist() == seconds
        parquet.write_table(pyarrow.table({"user": [1, 2], "item": [3, 4], "time": values}), path)
        assert read_parquet(path, time="time", time_format=form).time.tolist() == seconds
    with pytest.raises(ValueError, match="got both, 's' and '%Y'"):
        Interactions.from_raw([1], [2], time=[1], time_unit="s", time_format="%Y")
    with pytest.raises(ValueError, match="must be a form of strptime with a year, a month and a day"):
        Interactions.from_raw([1], [2], time=["1"], time_format="%H")
    with pytest.raises(
        ValueError,
        match=r"'12/1/2010 8:26' is no ISO date .*; time_format='%d/%m/%Y %H:%M' or time_format='%m/%d/%Y %H:%M'",
    ):
        Interactions.from_raw([1], [2], time=["12/1/2010 8:26"])
