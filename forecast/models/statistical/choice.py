"""Which method suits a series, by its seasons and its length. Imports no model library."""

from dataclasses import dataclass, replace

from forecast.models.statistical.spec import MethodName, StatisticalOptions

# Below these the library refuses, divides by zero, or (ARIMA) answers zeros without a word.
FEWEST: dict[MethodName, int] = {
    "auto": 5,
    "auto_ets": 10,
    "auto_arima": 10,
    "auto_theta": 5,
    "auto_ces": 10,
    "mstl": 10,
    "seasonal_naive": 1,
    "naive": 1,
}


@dataclass(frozen=True, slots=True)
class Choice:
    """A method that can be fitted to the series it was chosen for.

    Attributes:
        seasons: lengths, shortest first; empty for none, and one for all but auto and MSTL.
        warnings: why it is simpler than what was asked.
    """

    method: MethodName
    seasons: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()


def choose(
    options: StatisticalOptions, length: int, usual: tuple[int, ...], covariates: int = 0
) -> Choice:
    """Name the method for one series.

    A season counts where the history holds two of it (one, for the seasonal naive).

    Args:
        length: steps of the history.
        usual: seasons of the series, used where the options name none.
        covariates: how many there are.
    """
    asked = _seasons_asked(options, usual)
    cycles = 1 if options.model == "seasonal_naive" else 2
    held = tuple(season for season in asked if length >= cycles * season)
    warnings = _shortened(asked, held, options, cycles)
    method: MethodName = options.model
    if method == "auto" and length < FEWEST["auto"]:
        method = "naive"
    return _feasible(Choice(method, _seasons_of(method, held), warnings), length, covariates)


def _seasons_asked(options: StatisticalOptions, usual: tuple[int, ...]) -> tuple[int, ...]:
    named = options.season_lengths or (options.season_length and (options.season_length,))
    return tuple(sorted({season for season in (named or usual) if season > 1}))


def _shortened(
    asked: tuple[int, ...], held: tuple[int, ...], options: StatisticalOptions, cycles: int
) -> tuple[str, ...]:
    """Say which season is too long, unless nobody asked for it."""
    if options.model == "naive" or not asked:
        return ()
    named = options.season_lengths is not None
    missed = [season for season in asked if season not in held] if named or not held else []
    if not missed:
        return ()
    listed = ", ".join(str(season) for season in (missed if named else missed[:1]))
    whole = "two seasons" if cycles == 2 else "one season"
    return (f"the history holds less than {whole} of {listed} steps; forecast without it",)


def _seasons_of(method: MethodName, held: tuple[int, ...]) -> tuple[int, ...]:
    if method == "naive":
        return ()
    return held if method in {"auto", "mstl"} else held[:1]


def _feasible(choice: Choice, length: int, covariates: int) -> Choice:
    """Put something simpler in place of a method that needs more steps or a season."""
    if choice.method == "mstl" and not choice.seasons:
        choice = replace(choice, method="auto_ets")
    if choice.method == "seasonal_naive" and not choice.seasons:
        choice = replace(choice, method="naive")
    fewest = FEWEST[choice.method] + (covariates if choice.method == "auto_arima" else 0)
    if length < fewest:
        simpler: MethodName = "auto_theta" if length >= FEWEST["auto_theta"] else "naive"
        note = f"{length} steps are too few for {choice.method}, which needs {fewest}: {simpler}"
        choice = Choice(simpler, (), (*choice.warnings, note))
    return choice
