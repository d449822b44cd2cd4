# SPDX-License-Identifier: AGPL-3.0-or-later
"""What refusals about requests, pictures, texts and jobs say; read by `words.py`."""

from openhorde.incoming.formats import taken_words

IMAGE_WORDS: dict[str, tuple[int, str]] = {
    # The prompt and general bounds.
    "MissingPrompt": (400, "prompt is empty. Say what is wanted."),
    "CorruptPrompt": (400, "prompt was blocked by this horde's filters. Change it."),
    "InvalidPromptSize": (
        400,
        "prompt is too long[: {given} words where at most {maximum} are taken]. Shorten it.",
    ),
    "InvalidSize": (400, "width and height do not fit[: {reason}]."),
    "TooManySteps": (400, "params.steps is too high[: {given} where at most {maximum} are taken]."),
    "UnsupportedSampler": (400, "params.sampler_name[ {sampler}] is not known here."),
    "UnsupportedModel": (400, "models: this combination is not possible[: {reason}]."),
    "UnexpectedModelName": (
        400,
        "models names[ {model},] something that cannot be used like this. Take another model.",
    ),
    "BadCFGDecimals": (
        400,
        "params.cfg_scale[ is {given} but] may have two decimals at most. Round it.",
    ),
    "BadCFGNumber": (400, "params.cfg_scale must be a number from 0 to 100."),
    # Features that do not go together.
    "ControlNetUnsupported": (
        400,
        "params.control_type[ {control_type}] does not work with the model[ {model}]."
        " Choose another model or leave it out.",
    ),
    "ControlNetSourceMissing": (
        400,
        "params.control_type needs a source_image. Send one, or leave control_type out.",
    ),
    "ControlNetInvalidPayload": (
        400,
        "params.image_is_control and params.return_control_map exclude each other. Send one.",
    ),
    "ControlNetMismatch": (
        400,
        "params.control_type[ {control_type}] does not work with models of this family[:"
        " {model} is {baseline}]. Choose another model or leave control_type out.",
    ),
    "ControlNetMismatch.": (
        400,
        "params.workflow qr_code does not work with models of this family[: {model} is"
        " {baseline}]. Choose a Stable Diffusion 1 or XL model.",
    ),
    "ControlNetInpaintingMismatch": (
        400,
        "params.control_type cannot be used for inpainting. Leave one of the two out.",
    ),
    "HiResMismatch": (
        400,
        "params.hires_fix does not work with models of this family[: {model} is {baseline}]."
        " Switch it off or choose another model.",
    ),
    "HiResFixMismatch": (400, "params.hires_fix does not work with this request."),
    "Img2ImgMismatch": (400, "source_image does not work with this model."),
    "TilingMismatch": (400, "params.tiling does not work with this request."),
    "InvalidRemix": (
        400,
        "source_processing remix needs models of the family stable_cascade[; {model} is not].",
    ),
    "InvalidRemixModel": (400, "source_processing remix needs models of stable_cascade."),
    "InvalidTransparencyModel": (
        400,
        "params.transparent does not work with models of this family[: {model} is {baseline}]."
        " Choose a Stable Diffusion 1 or XL model.",
    ),
    "InvalidTransparencyImg2Img": (
        400,
        "params.transparent and source images exclude each other. Leave one out.",
    ),
    "InvalidTransparencyCN": (
        400,
        "params.transparent and params.control_type exclude each other. Leave one out.",
    ),
    "InvalidExtraTexts.": (400, "params.extra_texts is only for params.workflow qr_code."),
    "MissingExtraTexts.": (
        400,
        "params.workflow qr_code needs an entry in params.extra_texts whose reference is qr_code.",
    ),
    "TooManyUpscalers": (
        400,
        "params.post_processing names too many upscalers[: {given} where at most {maximum} are"
        " taken].",
    ),
    "TooManyLoras": (
        400,
        "params.loras has too many entries[: {given} where at most {maximum} are taken].",
    ),
    "TooManyTIs": (
        400,
        "params.tis has too many entries[: {given} where at most {maximum} are taken].",
    ),
    "BadLoraVersion": (
        400,
        "params.loras: name[ {given}] must be a number when is_version is true.",
    ),
    "SpecialMissingUsername": (400, "A special model is named MODEL::USERNAME#ID."),
    "SpecialMissingPayload": (400, "A special model needs params.special."),
    "SpecialFieldNeedsSpecialUser": (400, "params.special is for special accounts only."),
    "BetaComparisonFault": (400, "This comparison needs params.n of at least 2."),
    # Pictures that come in.
    "SourceImageRequiredForModel": (400, "The model[ {model}] needs a source_image. Send one."),
    "SourceMaskUnnecessary": (400, "source_mask is of no use without a source_image."),
    "InpaintingMissingMask": (
        400,
        "Inpainting needs a source_mask, or a source_image with transparent parts (less than half"
        " opaque).",
    ),
    "ImageValidationFailed": (
        400,
        "[{field}: ]no picture can be read from this[: {reason}]. Send base64 of a"
        f" {taken_words()} file, or the URL of one.",
    ),
    "SourceImageResolutionExceeded": (
        400,
        "[{field}: ]the picture has too many pixels[: {reason}]. Send a smaller one.",
    ),
    "SourceImageSizeExceeded": (
        400,
        "[{field}: ]the picture is too large a file[: {reason}]. Send a smaller one.",
    ),
    "SourceStorageFull": (
        503,
        "This server's room for source pictures is full[: {maximum} bytes"
        " (OPENHORDE_SOURCE_BYTES)]. Try again later, or ask for something without a source.",
    ),
    "SourceImageUrlInvalid": (400, "[{field}: ]the URL does not lead to a picture[: {reason}]."),
    "SourceImageUnreadable": (400, "[{field}: ]this cannot be read as a picture[: {reason}]."),
    "TooManyExtraSourceImages.": (
        400,
        "extra_source_images has too many entries[: {given} where at most {maximum} are taken].",
    ),
    "MoreThanMinExtraSourceImage.": (
        400,
        "Only trusted accounts may send more than one of extra_source_images.",
    ),
    "InvalidExtraSourceImages.": (
        400,
        "extra_source_images is only for images, with source_processing remix.",
    ),
    # Texts.
    "TokenOverflow": (
        400,
        "params.max_length[ ({given})] may not exceed params.max_context_length[ ({maximum})].",
    ),
    "MissingFullSamplerOrder": (400, "params.sampler_order must hold 7 different numbers."),
    "TooManyStopSequences": (
        400,
        "params.stop_sequence has too many entries[: {given} where at most {maximum} are taken].",
    ),
    "ExcessiveStopSequence": (
        400,
        "params.stop_sequence is too long[: {given} characters where at most {maximum} are taken].",
    ),
    # Styles.
    "StylePromptMissingVars": (400, "A style's prompt must contain the letter p in braces."),
    "StyleMismatch": (400, "The style[ {name}] is for another kind of work."),
    "StyleGetMistmatch": (400, "The style[ {name}] is of another kind."),
    "ExampleURLAlreadyInUse": (400, "This example's URL is in use already."),
    "TooManyStyleExamples": (403, "A style may not have more examples[ than {maximum}]."),
    "StyleNotFound": (404, "No style has the name or ID[ {id}]."),
    "Image styleNotFound": (404, "No image style has the name or ID[ {id}]."),
    "Text styleNotFound": (404, "No text style has the name or ID[ {id}]."),
    "Style exampleNotFound": (404, "No style example has the ID[ {id}]."),
    "CollectionNotFound": (404, "No collection has the name or ID[ {id}]."),
    # Jobs that come back.
    "InvalidJobID": (404, "Processing Job[ with ID {id}] does not exist."),
    "ProcGenNotFound": (400, "No finished picture has the ID[ {id}]."),
    "DuplicateGen": (400, "Processing Job[ with ID {id}] was already submitted."),
    "AbortedGen": (
        400,
        "Processing Job[ with ID {id}] took too long and was given up. Please check your worker"
        " speed, or offer less.",
    ),
    "NoValidWorkers": (400, "No worker can do this now."),
    # Ratings.
    "InvalidAestheticAttempt": (400, "Send ratings or a best picture."),
    "AestheticsNotCompleted": (400, "Only a finished request can be rated."),
    "AestheticsNotPublic": (400, "Only shared requests can be rated."),
    "AestheticsDuplicate": (400, "A picture may be rated once[: {id} is there twice]."),
    "AestheticsMissing": (400, "A rating names a picture[ {id}] that is not in this request."),
    "AestheticsSolo": (400, "A best picture can only be chosen among several."),
    "AestheticsConfused": (400, "The best picture must be the one with the best rating."),
    "AestheticsAlreadyExist": (400, "This request was rated already."),
    "AestheticsServerRejected": (400, "The ratings service refused this[: {reason}]."),
    "AestheticsServerError": (400, "The ratings service failed. Try again later."),
    "AestheticsServerDown": (400, "The ratings service cannot be reached. Try again later."),
    "AestheticsServerTimeout": (400, "The ratings service took too long. Try again later."),
}
