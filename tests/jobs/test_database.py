import pytest

from forecast.jobs.database import engine_of


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "sqlite://", "mysql://a/b", "postgresql://ann:of-the-test@host:port/name"],
)
def test_an_address_of_no_known_kind_is_refused_without_its_password(url):
    with pytest.raises(ValueError, match="sqlite:///<file> or postgresql") as refused:
        engine_of(url)
    assert "of-the-test" not in str(refused.value)
