"""Columns by their names and values: those of files that are about, those that are refused, and what errors say."""

import random
import re

import pytest

from fastgcn_rec.data import DataSpec, load_dataset
from fastgcn_rec.data.reading.guess import guess_columns
from fastgcn_rec.data.reading.names import words_of
from fastgcn_rec.data.reading.sample import columns_of

RNG = random.Random(0)


def whole(most):
    return lambda row: str(RNG.randint(1, most))


def text(most, word="n"):
    return lambda row: f"{word}{RNG.randint(1, most)}"


def seconds(row):
    return str(1_600_000_000 + RNG.randint(0, 10**7))


def millis(row):
    return str(1_600_000_000_000 + RNG.randint(0, 10**10))


def iso(row):
    return f"2011-12-{RNG.randint(1, 28):02d} 08:26:00"


def american(row):
    return f"12/{RNG.randint(1, 28)}/2010 8:26"


def german(row):
    return f"{RNG.randint(1, 28)}.12.2010 08:26"


def real(row):
    return f"{RNG.random():.3f}"


def guessed(header, *values, rows=300, given=None, **options):
    """What is guessed of rows of values: (user, item, rating, time), or the error's text."""
    names = header.split(",") if header else range(len(values))
    table = [[value(row) for value in values] for row in range(rows)]
    try:
        found = guess_columns("x.csv", columns_of(names, table), given or {}, **options)
    except ValueError as error:
        return str(error)
    return tuple(found[role] for role in ("user", "item", "rating", "time"))


@pytest.mark.parametrize(
    ("header", "values", "expected"),
    [
        ("userId,movieId,rating,timestamp", (whole(100), whole(50), whole(5), seconds), "userId movieId rating timestamp"),
        ("listener,song,at", (whole(100), whole(50), millis), "listener song - at"),
        ("timestamp,visitorid,event,itemid,transactionid", (millis, whole(90), text(3), whole(50), lambda row: ""), "visitorid itemid - timestamp"),
        ("reviewerID,asin,reviewerName,overall,unixReviewTime,reviewTime", (text(50), text(50), text(50), whole(5), seconds, lambda row: "05 3, 2014"),
         "reviewerID asin overall unixReviewTime"),
        ("rating,title,asin,parent_asin,user_id,timestamp", (whole(5), text(90), text(40), text(40), text(40), millis), "user_id asin rating timestamp"),
        ("User-ID,ISBN,Book-Rating", (whole(100), text(50), whole(10)), "User-ID ISBN Book-Rating -"),
        ("review_id,user_id,business_id,stars,date", (lambda row: f"r{row}", text(50), text(50), whole(5), iso), "user_id business_id stars date"),
        ("t_dat,customer_id,article_id,price,sales_channel_id", (iso, text(50), whole(50), real, whole(2)), "customer_id article_id - t_dat"),
        ("user,thing_xyz,ts", (whole(50), text(50), seconds), "user thing_xyz - ts"),
        ("Unnamed: 0,user,xyz,ts", (str, whole(50), text(50), seconds), "user xyz - ts"),
        ("user_id,artist_id,track_id,timestamp", (whole(50), whole(50), whole(50), iso), "user_id track_id - timestamp"),
        ("user_id,movie_id,movie_title,watched_at", (whole(50), whole(50), text(50), iso), "user_id movie_id - watched_at"),
        ("session_id,timestamp,item_id,category", (whole(50), iso, whole(50), whole(3)), "session_id item_id - timestamp"),
        ("user,item,time", (whole(50), whole(50), lambda row: str(2 * row)), "user item - time"),
        ("user,item,quantity,count,plays", (whole(50), whole(50), whole(5), whole(5), whole(5)), "user item - -"),
        ("user,item,rating_count,avg_rating,user_rating", (whole(50), whole(50), whole(5), real, whole(5)), "user item user_rating -"),
        ("user,item,score", (whole(50), whole(50), real), "user item - -"),
        ("user,item,release_date,watched", (whole(50), whole(50), iso, iso), "user item - watched"),
        ("Bestellnr,Kundennummer,Artikelnummer,Artikelbezeichnung,Menge,Einzelpreis", (whole(900), text(50), text(50), text(50), whole(4), real),
         "Kundennummer Artikelnummer - -"),
        ("Kunden-ID;Produkt;Kaufdatum;Geburtsdatum".replace(";", ","), (text(50), text(50), iso, iso), "Kunden-ID Produkt - Kaufdatum"),
        ("id_cliente,id_producto,fecha", (text(50), text(50), iso), "id_cliente id_producto - fecha"),
        ("numero_utilisateur,code_produit,nom_produit", (text(50), text(50), text(50)), "numero_utilisateur code_produit - -"),
        ("Customer ID,Stock Code,birth date", (whole(50), text(50), iso), "Customer ID,Stock Code - -"),
    ],
)  # fmt: skip
def test_columns_of_files_that_are_about(header, values, expected):
    wanted = expected.replace(",", " ").split() if header[:8] != "Customer" else ["Customer ID", "Stock Code", "-", "-"]
    assert guessed(header, *values) == tuple("" if name == "-" else name for name in wanted)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((whole(50), whole(50)), (0, 1, "", "")),
        ((whole(50), whole(50), seconds), (0, 1, "", 2)),
        ((whole(50), text(50), iso), (0, 1, "", 2)),
        ((whole(50), whole(50), whole(5), seconds), (0, 1, 2, 3)),
        ((str, whole(50), whole(50), whole(5)), (1, 2, 3, "")),
    ],
)
def test_files_without_a_header_have_the_usual_order(values, expected):
    assert guessed("", *values) == expected


@pytest.mark.parametrize(
    ("header", "values", "said"),
    [
        ("user_id,book_id,isbn", (whole(50), whole(50), whole(50)), "which column is the item? book_id and isbn may be. item= (--item)"),
        ("customer_id,account_id,product", (whole(50), whole(50), whole(50)), "which column is the user? customer_id and account_id may be"),
        ("user,item,start,stop", (whole(50), whole(50), iso, iso), "which column is the time? start and stop may be. time= (--time) names it, time=''"),
        ("a,b,ts", (whole(50), whole(50), seconds), "which column is the user?"),
        ("user_id,gender,age", (str, text(2), whole(50)), "user_id numbers the rows"),
        ("order_id,product_id,reordered", (whole(90), whole(50), whole(2)), "which column is the user?"),
        ("Kunde,Artikel,Bestelldatum", (whole(50), whole(50), german), "how are the times of Bestelldatum"),
        ("user,item,InvoiceDate", (whole(50), whole(50), american), "time_format='%m/%d/%Y %H:%M' (--time-format) reads them"),
        ("user,item,at", (whole(50), whole(50), german), "time_format='%d.%m.%Y %H:%M' (--time-format)"),
        ("user,item,date", (whole(50), whole(50), lambda row: str(20111201 + RNG.randint(0, 28))), "time_format='%Y%m%d'"),
        ("user,item,at", (whole(50), whole(50), lambda row: "03/04/2010"), "time_format='%d/%m/%Y' or time_format='%m/%d/%Y'"),
        ("", (whole(50), whole(50), whole(900)), "what is column 2? There is no header; rating=, weight= or time="),
        ("", (seconds, whole(50), whole(50)), "which column is the user?"),
        ("", (whole(50), whole(50), german), "time_format='%d.%m.%Y %H:%M'"),
    ],
)  # fmt: skip
def test_what_is_doubtful_is_refused_with_what_decides(header, values, said):
    found = guessed(header, *values)
    assert isinstance(found, str)
    assert said in found


def test_errors_show_the_columns_with_values():
    found = guessed("a,b", whole(1), lambda row: "x" * 99)
    assert "the columns and their first values are a ('1'), b ('xxxxxxxxxxxxxxxxxxxxxxxxxxx...')" in found


def test_what_is_given_is_not_guessed():
    values = (whole(50), whole(50), whole(50), whole(5), seconds)
    header = "user_id,book_id,isbn,rating,ts"
    assert guessed(header, *values, given={"item": "isbn"}) == ("user_id", "isbn", "rating", "ts")
    assert guessed(header, *values, given={"item": 1}) == ("user_id", 1, "rating", "ts")
    assert guessed(header, *values, given={"item": "isbn", "rating": "", "time": ""}) == ("user_id", "isbn", "", "")
    assert guessed(header, *values, given={"user": "book_id"}) == ("book_id", "isbn", "rating", "ts")
    assert guessed("user,item,at", whole(9), whole(9), german, time_format="%d.%m.%Y %H:%M")[3] == "at"
    assert "time_format=" in guessed("user,item,xyz", whole(9), whole(9), german, given={"time": "xyz"})


def test_the_order_of_columns_does_not_matter():
    header, values = ["userId", "movieId", "rating", "timestamp"], (whole(100), whole(50), whole(5), seconds)
    for _ in range(10):
        order = RNG.sample(range(4), 4)
        found = guessed(",".join(header[n] for n in order), *(values[n] for n in order))
        assert found == ("userId", "movieId", "rating", "timestamp")


@pytest.mark.parametrize(
    "spelling",
    [
        "CustomerID",
        "customer_id",
        "customer id",
        "CUSTOMER_ID",
        "customerId",
        "Customer-Id",
        "customerid",
        "customer.id",
    ],
)
def test_spellings_are_one(spelling):
    assert words_of(spelling) == ["customer", "id"]


def test_a_unit_is_guessed_by_size_and_said(tmp_path):
    for unit, per in {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}.items():
        path = tmp_path / f"{unit}.csv"
        rows = "".join(f"{n % 7},{n % 5},{(1_600_000_000 + n) * per}\n" for n in range(50))
        path.write_text("user,item,at\n" + rows)
        spec = DataSpec.of(path)
        assert spec.describe() == f"user=user, item=item, time=at ({unit} since 1970)"
        assert sorted(spec.interactions().time.tolist()) == list(range(1_600_000_000, 1_600_000_050))
        assert spec.interactions().time.dtype == "int64"
    assert DataSpec.of(path, time_unit="us").describe().endswith("(us since 1970)")


def test_what_is_said_of_times(tmp_path):
    def said(*values, **options):
        path = tmp_path / "t.csv"
        path.write_text("user,item,at\n" + "".join(f"a{n},b,{value}\n" for n, value in enumerate(values)))
        return re.sub(".*time=", "", DataSpec.of(path, **options).describe())

    assert said("1", "2") == "at (plain numbers)"
    assert said("2011-12-09") == "at (dates)"
    assert said("9.12.2011", time_format="%d.%m.%Y") == "at (%d.%m.%Y)"
    assert said("9.12.2011", time="") == "user=user, item=item"


def test_dates_of_a_form_are_seconds(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("user,item,at\na,b,02.01.1970 00:01\na,c,01.01.1970 00:00\n")
    data = load_dataset(path, time_format="%d.%m.%Y %H:%M", split="none")
    assert sorted(data.train.time.tolist()) == [0, 86460]
    path.write_text("user,item,at\na,b,02.01.1970\na,c,1970-01-01\n")
    with pytest.raises(
        ValueError, match=r"line 3: the time '1970-01-01' is no date of the form time_format='%d.%m.%Y'"
    ):
        load_dataset(path, time_format="%d.%m.%Y", split="none")


def test_a_bad_value_is_the_readers_to_name_and_drops_no_column(tmp_path):
    path = tmp_path / "t.csv"
    for bad, said in {
        "a,7,x,2011-12-09": "line 4: the rating 'x' is not a finite number",
        "a,7,3,yesterday": "line 4: the time 'yesterday' is not a number or an ISO date",
        "a,,3,2011-12-09": "line 4: the item is empty",
    }.items():
        path.write_text(f"user,item,rating,at\na,7,3,2011-12-09\nb,8,4,2011-12-10\n{bad}\n")
        with pytest.raises(ValueError, match=said):
            load_dataset(path)


def test_dates_of_digits_are_numbers_where_that_is_said(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("user,item,date\na,b,20111201\na,c,20111203\n")
    with pytest.raises(
        ValueError,
        match=r"time_format='%Y%m%d' \(--time-format\) reads them, time_unit='' leaves them the numbers that they are; time=''",
    ):
        load_dataset(path)
    assert DataSpec.of(path, time_unit="").interactions().time.tolist() == [20111201, 20111203]
    assert DataSpec.of(path, time_format="%Y%m%d").interactions().time.tolist() == [1322697600, 1322870400]
