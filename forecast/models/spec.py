"""What a model is, as plain data: importing a spec imports no model library."""

from dataclasses import asdict, dataclass
from datetime import datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from forecast.core.errors import MissingLibrary
from forecast.core.lookahead import Root
from forecast.models.base.config import ModelConfig, ModelOptions, TrainingBackend

if TYPE_CHECKING:
    from forecast.models.base.model import BaseTimeSeriesModel


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model can do. Checked before a request is queued.

    Attributes:
        quantiles: `native` from the model, `calibrated` from its past errors, or `none`.
        multivariate: forecasts several channels of one series together.
        categorical_covariates: takes covariates that are text, not only numbers.
        missing_values: copes with NaN in the target; elsewhere they are interpolated.
        seasonal: forecasts a season that comes again in the series.
        shift_equivariant: the forecast of a series plus a constant is the forecast plus it.
        min_context: the fewest observed steps it needs.
        max_context: the most past steps it uses; older ones are left out.
        max_horizon: the longest horizon it forecasts.
    """

    tasks: tuple[str, ...] = ("forecast",)
    zero_shot: bool = True
    trainable: bool = False
    fine_tunable: bool = False
    lora: bool = False
    multivariate: bool = False
    past_covariates: bool = False
    future_covariates: bool = False
    static_covariates: bool = False
    categorical_covariates: bool = False
    missing_values: bool = False
    seasonal: bool = True
    shift_equivariant: bool = True
    quantiles: Literal["native", "calibrated", "none"] = "native"
    min_context: int = 1
    max_context: int = 100_000
    max_horizon: int = 10_000


@dataclass(frozen=True, slots=True)
class License:
    """Under what terms the weights (or, without weights, the library) may be used.

    Attributes:
        id: SPDX identifier, or the name its authors give.
    """

    id: str
    commercial_use: bool
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One entry of the registry.

    Attributes:
        model_id: folder, part of the URL and key of the registry.
        model: `module:Class`, imported on first load.
        weights: default source, with a revision; `package:<model_id>` where they are
            installed with the gateway; None for a model that has none.
        config: what may be set when it is loaded.
        options: what may be set in each request.
        training_backend: whose training it uses, where it can be trained.
        distributed: whether several processes can share a training.
        extra: the pip extra that brings its library; None where the gateway's own are enough.
        library: the module that `extra` brings, of a model that is ready at once; a gateway that
            lacks it does not start the model's host.
        environment: `shared`, or the name of an environment of its own.
        max_replicas: the most processes worth having on one machine; 1 for a model that
            spreads a batch over the cores itself.
        variants: the kinds of checkpoint it reads, each of which `tiny` can make.
        checkpoints: what is known of the training data of public weights, without revisions.
        router: `module:function` for a model whose routes differ from the shared ones.
    """

    model_id: str
    name: str
    version: str
    description: str
    default_port: int
    model: str
    weights: str | None
    capabilities: Capabilities
    license: License
    extra: str | None = None
    library: str | None = None
    config: type[ModelConfig] = ModelConfig
    options: type[ModelOptions] = ModelOptions
    training_backend: TrainingBackend = TrainingBackend.CUSTOM
    distributed: bool = False
    status: Literal["active", "planned", "deprecated"] = "active"
    environment: str = "shared"
    max_replicas: int = 8
    variants: tuple[str, ...] = ()
    checkpoints: tuple[Root, ...] = ()
    router: str | None = None

    def root_of(self, source: str, published_at: datetime | None = None) -> Root:
        """Tell what is known of foreign weights; of those in no catalogue, only where they lie.

        Args:
            published_at: when this revision was on its hub at the latest, if that is known: it may
                be newer than what the catalogue tells of.
        """
        repository = source.partition("@")[0]
        known = (one for one in self.checkpoints if one.source == repository)
        facts = next(known, Root(source=source))
        told = published_at or facts.published_at
        return facts.model_copy(update={"source": source, "published_at": told})

    def model_class(self) -> "type[BaseTimeSeriesModel]":
        """Import the model's class, and with it the library behind it.

        Raises:
            MissingLibrary: the extra is not installed; names the command that brings it.
        """
        module, _, name = self.model.partition(":")
        try:
            return cast("type[BaseTimeSeriesModel]", getattr(import_module(module), name))
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] == "forecast":
                raise
            raise MissingLibrary(self._lacks(error.name)) from error

    @property
    def missing_library(self) -> str | None:
        """What this environment lacks for a model that is ready at once, in words; None if nothing.

        Nothing is imported for it.
        """
        if self.library is None or find_spec(self.library) is not None:
            return None
        return self._lacks(self.library)

    def _lacks(self, module: str | None) -> str:
        return f"{self.name} needs {module}, which is not installed; {self.how_to_install}"

    @property
    def packaged_weights(self) -> Path:
        """The folder of `package:<model_id>`, for a model whose weights come with the gateway."""
        return Path(__file__).parent / self.model_id / "weights"

    @property
    def is_ready_at_once(self) -> bool:
        """Whether it forecasts at once: without training, download or API key."""
        is_here = self.weights is None or self.weights.startswith("package:")
        return is_here and self.capabilities.zero_shot and not self.config.operator_fields

    @property
    def needs_training(self) -> bool:
        """Whether there are no weights to load but those that were trained here."""
        return self.weights is None and not self.capabilities.zero_shot

    @property
    def how_to_install(self) -> str:
        """The command that brings its library, in words."""
        if self.environment == "shared":
            extra = f"[{self.extra}]" if self.extra else ""
            return f"install it with: pip install 'forecast-gateway{extra}'"
        return f"its own environment has it, made with: ./setup.sh env {self.environment}"

    @property
    def info(self) -> dict[str, Any]:
        """The entry as `GET /models` shows it."""
        package = self.model.partition(":")[0].rpartition(".")[0]
        return {
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "module": package,
            "router_path": self.router or "forecast.api.model_routes",
            "service_path": "forecast.serving.service",
            "default_port": self.default_port,
            "status": self.status,
            "capabilities": asdict(self.capabilities),
            "license": asdict(self.license),
            "sources": [self.weights] if self.weights else [],
            "documentation": f"{package.replace('.', '/')}/README.md",
        }

    def __getitem__(self, key: str) -> Any:
        """Read a field by the key of the older dictionary entries."""
        return self.info[key]


def load_specs(package: str, *model_ids: str) -> dict[str, ModelSpec]:
    """Import `<package>.<model_id>.spec` of each model, in the order given."""
    specs = {model_id: import_module(f"{package}.{model_id}.spec").SPEC for model_id in model_ids}
    for model_id, spec in specs.items():
        if spec.model_id != model_id:
            raise ValueError(f"the spec in {package}.{model_id} calls itself {spec.model_id!r}")
    return specs
