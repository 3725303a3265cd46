package bypass

// linkWords are the texts of a link's page in one language.
type linkWords struct {
	tag     string // BCP 47
	title   string
	message string
	token   string // label of the field
	proceed string // label of the button
	wrong   string // shown after a wrong token
}

func (w linkWords) dir() string {
	if w.tag == "ar" {
		return "rtl"
	}
	return "ltr"
}

// words returns the texts in the languages of the built-in page. The first is the default.
func words() []linkWords {
	return []linkWords{
		{"en", "Access for the team", "We are carrying out maintenance. With an access token you can go on.",
			"Access token", "Continue", "This token is not valid, or no longer valid. Please ask the person who gave it to you."},
		{"ar", "دخول الفريق", "نُجري حاليًا أعمال صيانة. يمكنك المتابعة باستخدام رمز الدخول.",
			"رمز الدخول", "متابعة", "هذا الرمز غير صالح أو لم يعد صالحًا. يُرجى سؤال من أعطاك إياه."},
		{"de", "Zugang für das Team", "Wir führen gerade Wartungsarbeiten durch. Mit einem Zugangstoken geht es weiter.",
			"Zugangstoken", "Weiter", "Dieses Token ist nicht oder nicht mehr gültig. Bitte fragen Sie die Person, von der Sie es haben."},
		{"es", "Acceso para el equipo", "Estamos realizando tareas de mantenimiento. Con un token de acceso puede continuar.",
			"Token de acceso", "Continuar", "Este token no es válido o ha dejado de serlo. Consulte a quien se lo dio."},
		{"fr", "Accès pour l’équipe", "Une opération de maintenance est en cours. Un jeton d’accès vous permet de continuer.",
			"Jeton d’accès", "Continuer", "Ce jeton n’est pas valide ou ne l’est plus. Adressez-vous à la personne qui vous l’a donné."},
		{"hi", "टीम के लिए प्रवेश", "अभी रखरखाव का काम चल रहा है। एक्सेस टोकन से आप आगे बढ़ सकते हैं।",
			"एक्सेस टोकन", "आगे बढ़ें", "यह टोकन मान्य नहीं है या अब मान्य नहीं रहा। कृपया उनसे पूछें जिन्होंने आपको यह दिया था।"},
		{"it", "Accesso per il team", "Stiamo effettuando un intervento di manutenzione. Con un token di accesso può proseguire.",
			"Token di accesso", "Continua", "Questo token non è valido o non lo è più. Si rivolga a chi glielo ha dato."},
		{"ja", "チーム用アクセス", "ただいまメンテナンスを行っています。アクセストークンがあれば続行できます。",
			"アクセストークン", "続行", "このトークンは無効か、有効期限が切れています。受け取った相手にご確認ください。"},
		{"ko", "팀원용 접속", "현재 점검 작업을 진행하고 있습니다. 액세스 토큰이 있으면 계속하실 수 있습니다.",
			"액세스 토큰", "계속", "이 토큰은 유효하지 않거나 더 이상 사용할 수 없습니다. 토큰을 준 사람에게 문의해 주세요."},
		{"nl", "Toegang voor het team", "We voeren onderhoud uit. Met een toegangstoken kunt u verder.",
			"Toegangstoken", "Doorgaan", "Dit token is niet (meer) geldig. Vraag het aan degene van wie u het hebt gekregen."},
		{"pl", "Dostęp dla zespołu", "Trwają prace konserwacyjne. Z tokenem dostępu można przejść dalej.",
			"Token dostępu", "Dalej", "Ten token jest nieważny albo stracił ważność. Prosimy zapytać osobę, która go przekazała."},
		{"pt", "Acesso para a equipa", "Estamos a fazer uma manutenção. Com um token de acesso pode continuar.",
			"Token de acesso", "Continuar", "Este token não é válido ou deixou de o ser. Fale com quem lho deu."},
		{"pt-BR", "Acesso para a equipe", "Estamos realizando uma manutenção. Com um token de acesso você pode continuar.",
			"Token de acesso", "Continuar", "Este token não é válido ou não é mais válido. Fale com quem o enviou para você."},
		{"ru", "Вход для команды", "Идут технические работы. С токеном доступа можно продолжить.",
			"Токен доступа", "Продолжить", "Этот токен недействителен или больше не действует. Обратитесь к тому, кто вам его дал."},
		{"tr", "Ekip girişi", "Bakım çalışması yapıyoruz. Erişim belirteciniz varsa devam edebilirsiniz.",
			"Erişim belirteci", "Devam et", "Bu belirteç geçersiz ya da artık geçerli değil. Lütfen size veren kişiye sorun."},
		{"uk", "Вхід для команди", "Тривають технічні роботи. З токеном доступу можна продовжити.",
			"Токен доступу", "Продовжити", "Цей токен недійсний або вже не діє. Зверніться до того, хто вам його дав."},
		{"zh", "团队入口", "系统正在维护。持有访问令牌即可继续。",
			"访问令牌", "继续", "此令牌无效或已失效。请联系提供令牌的人。"},
		{"zh-Hant", "團隊入口", "系統正在維護。持有存取權杖即可繼續。",
			"存取權杖", "繼續", "此權杖無效或已失效。請洽提供權杖的人。"},
	}
}
